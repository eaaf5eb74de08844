/* Sends the checksums of blocks of several sizes in every memory space of the 8051. */
#include "nn_crc.h"
#include "nn_port.h"

#define TABLE 24U

static NN_XDATA uint8_t in_xdata[1030];
static NN_IDATA uint8_t in_idata[TABLE];
static NN_DATA uint8_t in_data[TABLE];
static const NN_CODE uint8_t in_code[TABLE] = {
    0,   37,  74, 111, 148, 185, 222, 3,   40,  77, 114, 151,
    188, 225, 6,  43,  80,  117, 154, 191, 228, 9,  46,  83,
};

static void send(const uint8_t *at, uint16_t size) {
    uint16_t crc;
    nn_crc_begin(NN_CRC_START);
    nn_crc_add(at, size / 3U); /* in two parts, as over two segments */
    nn_crc_add(at + size / 3U, size - size / 3U);
    crc = nn_crc_value();
    nn_port_write((uint8_t)(crc & 0xFFU));
    nn_port_write((uint8_t)(crc >> 8));
}

int main(void) {
    static const NN_CODE uint16_t sizes[] = {0, 1, 2, 3, 255, 256, 257, 384, 511, 512, 768, 1030};
    uint16_t i;
    nn_port_init();
    for (i = 0U; i < 1030U; i++) {
        in_xdata[i] = (uint8_t)(i * 37U);
    }
    for (i = 0U; i < TABLE; i++) {
        in_idata[i] = (uint8_t)(i * 37U);
        in_data[i] = (uint8_t)(i * 37U);
    }
    for (i = 0U; i < sizeof sizes / sizeof sizes[0]; i++) {
        send(in_xdata, sizes[i]);
    }
    send(in_idata, TABLE);
    send(in_data, TABLE);
    send(in_code, TABLE);
    for (;;) {
    }
}
