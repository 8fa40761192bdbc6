// Stand-in: the kernels that main.cc asks for. There each has parameters with defaults.
#pragma once

enum TfLiteStatus { kTfLiteOk, kTfLiteError };

namespace tflite {
struct MicroOpResolver {};

template <unsigned int most> struct MicroMutableOpResolver : MicroOpResolver {
    TfLiteStatus AddConv2D();
    TfLiteStatus AddDepthwiseConv2D();
    TfLiteStatus AddAdd();
    TfLiteStatus AddMaxPool2D();
    TfLiteStatus AddPad();
    TfLiteStatus AddReshape();
    TfLiteStatus AddConcatenation();
    TfLiteStatus AddFullyConnected();
};
} // namespace tflite
