"""What is done with rebuilds: compare, register, watch, retrain, schedule, reproduce, mend."""
