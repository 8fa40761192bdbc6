"""What every room stands on: errors, atomic files, digests, parameters, secrets, model folders.

Face: `errors.CrywatchError`, `params.section`, `paths`, `atomic.atomic_path`, `lock.FileLock`, and
`code.closure`: which code can change what a module makes.
"""
