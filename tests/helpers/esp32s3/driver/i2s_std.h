// Stand-in: of ESP-IDF's I2S driver what main.cc uses.
#pragma once
#include <cstddef>
#include <cstdint>

#include "esp_err.h"

enum i2s_port_t { I2S_NUM_0 };
enum i2s_role_t { I2S_ROLE_MASTER };
enum gpio_num_t { GPIO_NUM_NC = -1, GPIO_NUM_4 = 4, GPIO_NUM_5, GPIO_NUM_6 };
enum i2s_data_bit_width_t { I2S_DATA_BIT_WIDTH_32BIT = 32 };
enum i2s_slot_mode_t { I2S_SLOT_MODE_MONO = 1 };
enum i2s_std_slot_mask_t { I2S_STD_SLOT_LEFT = 1, I2S_STD_SLOT_BOTH = 3 };
#define I2S_GPIO_UNUSED GPIO_NUM_NC

typedef struct i2s_channel_obj_t *i2s_chan_handle_t;

struct i2s_chan_config_t {
    i2s_port_t id;
    i2s_role_t role;
    uint32_t dma_desc_num;
    uint32_t dma_frame_num;
};
struct i2s_std_clk_config_t {
    uint32_t sample_rate_hz;
};
struct i2s_std_slot_config_t {
    i2s_data_bit_width_t data_bit_width;
    i2s_slot_mode_t slot_mode;
    i2s_std_slot_mask_t slot_mask;
};
struct i2s_std_gpio_config_t {
    gpio_num_t mclk, bclk, ws, dout, din;
};
struct i2s_std_config_t {
    i2s_std_clk_config_t clk_cfg;
    i2s_std_slot_config_t slot_cfg;
    i2s_std_gpio_config_t gpio_cfg;
};
// Braces with names of members, as there: what they are assigned to has to take them.
#define I2S_CHANNEL_DEFAULT_CONFIG(number, of) \
    {.id = number, .role = of, .dma_desc_num = 6, .dma_frame_num = 240}
#define I2S_STD_CLK_DEFAULT_CONFIG(rate) {.sample_rate_hz = rate}
#define I2S_STD_PHILIPS_SLOT_DEFAULT_CONFIG(bits, mode) \
    {.data_bit_width = bits, .slot_mode = mode, .slot_mask = I2S_STD_SLOT_BOTH}

extern "C" {
esp_err_t i2s_new_channel(const i2s_chan_config_t *, i2s_chan_handle_t *, i2s_chan_handle_t *);
esp_err_t i2s_channel_init_std_mode(i2s_chan_handle_t, const i2s_std_config_t *);
esp_err_t i2s_channel_enable(i2s_chan_handle_t);
esp_err_t i2s_channel_read(i2s_chan_handle_t, void *, size_t, size_t *, uint32_t timeout_ms);
}
