// A cry detector on an ESP32-S3 with an I2S microphone (INMP441: SCK 4, WS 5, SD 6, L/R to ground).
// Untried on the device: what needs no hardware (loop.c, frontend.c, listener.c) is tested; this
// file is compiled against stand-ins of the headers.
#include "loop.h"

#include <cstdint>
#include <cstring>

#include "driver/i2s_std.h"
#include "esp_err.h"
#include "esp_log.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

#ifndef CRYWATCH_ARENA_BYTES
#define CRYWATCH_ARENA_BYTES (160 * 1024)
#endif

extern const uint8_t network_start[] asm("_binary_network_int8_tflite_start");

static const char *TAG = "crywatch";
static const uint32_t SILENT_MS = 2000; // without a sample: the device starts anew
alignas(16) static uint8_t arena[CRYWATCH_ARENA_BYTES];
static tflite::MicroInterpreter *interpreter;
static struct loop loop;

static signed char network(const signed char *input)
{
    std::memcpy(interpreter->input(0)->data.int8, input, CRYWATCH_PIXELS);
    interpreter->Invoke();
    return interpreter->output(0)->data.int8[0];
}

static i2s_chan_handle_t microphone()
{
    i2s_chan_handle_t channel;
    i2s_chan_config_t about = I2S_CHANNEL_DEFAULT_CONFIG(I2S_NUM_0, I2S_ROLE_MASTER);
    // Sound waits here while the network runs: two steps of it, by default there is room for less.
    about.dma_desc_num = 2 * LOOP_STEP / about.dma_frame_num + 1;
    ESP_ERROR_CHECK(i2s_new_channel(&about, nullptr, &channel));
    i2s_std_config_t standard = {};
    standard.clk_cfg = I2S_STD_CLK_DEFAULT_CONFIG(CRYWATCH_RATE_HZ);
    standard.slot_cfg =
        I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(I2S_DATA_BIT_WIDTH_32BIT, I2S_SLOT_MODE_MONO);
    standard.slot_cfg.slot_mask = I2S_STD_SLOT_LEFT;
    standard.gpio_cfg.mclk = I2S_GPIO_UNUSED;
    standard.gpio_cfg.bclk = GPIO_NUM_4;
    standard.gpio_cfg.ws = GPIO_NUM_5;
    standard.gpio_cfg.dout = I2S_GPIO_UNUSED;
    standard.gpio_cfg.din = GPIO_NUM_6;
    ESP_ERROR_CHECK(i2s_channel_init_std_mode(channel, &standard));
    ESP_ERROR_CHECK(i2s_channel_enable(channel));
    return channel;
}

extern "C" void app_main()
{
    static tflite::MicroMutableOpResolver<8> ops;
    ops.AddConv2D();
    ops.AddDepthwiseConv2D();
    ops.AddAdd();
    ops.AddMaxPool2D();
    ops.AddPad();
    ops.AddReshape();
    ops.AddConcatenation();
    ops.AddFullyConnected();
    static tflite::MicroInterpreter made(
        tflite::GetModel(network_start), ops, arena, sizeof arena);
    interpreter = &made;
    if (made.AllocateTensors() != kTfLiteOk) {
        ESP_LOGE(TAG, "the network does not fit %u bytes", (unsigned)sizeof arena);
        return;
    }
    loop_start(&loop, network);
    i2s_chan_handle_t channel = microphone();
    static int32_t raw[LOOP_STEP];
    static int16_t samples[LOOP_STEP];
    bool crying = false;
    for (;;) {
        size_t count = 0;
        ESP_ERROR_CHECK(i2s_channel_read(channel, raw, sizeof raw, &count, SILENT_MS));
        for (int i = 0; i < LOOP_STEP; i++)
            samples[i] = raw[i] >> 16;
        if (!loop_hear(&loop, samples) || loop.listener.crying == crying)
            continue;
        crying = loop.listener.crying;
        ESP_LOGI(TAG, "%s at %ld s, probability %.2f", crying ? "crying" : "quiet",
                 loop.listener.second, loop.listener.probability);
    }
}
