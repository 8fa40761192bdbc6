// Stand-in.
#pragma once
#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

struct TfLiteTensor {
    union {
        int8_t *int8;
    } data;
};

namespace tflite {
struct MicroInterpreter {
    MicroInterpreter(const Model *, const MicroOpResolver &, uint8_t *arena, size_t arena_bytes);
    TfLiteStatus AllocateTensors();
    TfLiteStatus Invoke();
    TfLiteTensor *input(size_t);
    TfLiteTensor *output(size_t);
};
} // namespace tflite
