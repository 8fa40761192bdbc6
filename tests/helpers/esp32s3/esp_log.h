// Stand-in: as there, formats are checked against what is logged.
#pragma once

extern "C" void esp_log_stand_in(const char *tag, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define ESP_LOGE(tag, format, ...) esp_log_stand_in(tag, format, __VA_ARGS__)
#define ESP_LOGI(tag, format, ...) esp_log_stand_in(tag, format, __VA_ARGS__)
