/* The reference node on a Cortex-M3 (LM3S6965, which QEMU has as lm3s6965evb): it counts, and
 * reports its count and a temperature ten times a second while the gateway acknowledges, and does
 * what it is told (tasks.h). */
#include "link.h"
#include "tasks.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define UART_DATA REGISTER(0x4000c000)
#define UART_FLAGS REGISTER(0x4000c018)
#define UART_CONTROL REGISTER(0x4000c030)
#define UART_INTERRUPTS REGISTER(0x4000c038)
#define SYSTICK_CONTROL REGISTER(0xe000e010)
#define SYSTICK_RELOAD REGISTER(0xe000e014)
#define SYSTICK_VALUE REGISTER(0xe000e018)
#define NVIC_ENABLE REGISTER(0xe000e100)

enum { TICKS_A_MS = 12500, UART_INTERRUPT = 5, RECEIVED = 0x50, FULL = 0x20, EMPTY = 0x10 };
enum { EVERY_MS = 100 };

#ifndef DEVICE
#define DEVICE 42
#endif

#ifdef LINK_WITH_KEY
/* For tests: a real node has its own. */
static const uint8_t KEY[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
#endif
/* [["temp", "Cel", -2], ["count", "", 0]] */
static const uint8_t CHANNELS[] = {0x82, 0x83, 0x64, 't', 'e', 'm', 'p', 0x63, 'C', 'e', 'l', 0x21,
                                   0x83, 0x65, 'c', 'o', 'u', 'n', 't', 0x60, 0x00};

_Static_assert(TASK_MAX_ANSWER <= LINK_MAX_ANSWER, "every answer fits");

/* The compiler calls it for what it clears (GCC, "Language Standards Supported by GCC"). */
__attribute__((used)) void *memset(void *to, int byte, size_t len) {
    for (uint8_t *p = to; len--; p++) *p = (uint8_t)byte;
    return to;
}

static volatile uint32_t ticks;
static volatile uint8_t received[256];
static volatile uint8_t received_to;

static void on_tick(void) { ticks++; }

static void on_uart(void) {
    while (!(UART_FLAGS & EMPTY)) received[received_to++] = (uint8_t)UART_DATA;
}

static struct link node;

extern uint32_t bss_start[], bss_end[], stack_top[];

void start(void) {
    for (uint32_t *word = bss_start; word < bss_end; word++) *word = 0;
    UART_INTERRUPTS = RECEIVED;
    UART_CONTROL = 0x301;
    NVIC_ENABLE = 1u << UART_INTERRUPT;
    SYSTICK_RELOAD = TICKS_A_MS - 1;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7;

    node.device = DEVICE;
    /* This board has no memory that outlives a start: the gateway says which epoch is next. */
    node.epoch = 1;
#ifdef LINK_WITH_KEY
    node.key = KEY;
#endif
    node.channels = CHANNELS;
    node.channels_len = sizeof CHANNELS;
    node.command = task_run;

    uint8_t taken = 0;
    int32_t count = 1;
    uint32_t next = 0;
    for (;;) {
        /* An uptime does not wrap, but a counter of 32 bits does after 49 days. */
        uint32_t passed = ticks - (uint32_t)node.now;
        node.now += passed;
        while (taken != received_to) link_receive(&node, received[taken++]);
        if ((int32_t)((uint32_t)node.now - next) >= 0) {
            int32_t values[2] = {2000 + count % 100, count};
            if (link_report(&node, values, 2)) count++;
            next = (uint32_t)node.now + EVERY_MS;
        }
        uint8_t out[LINK_MAX_STUFFED];
        size_t len = link_poll(&node, out);
        for (size_t i = 0; i < len; i++) {
            while (UART_FLAGS & FULL) {
            }
            UART_DATA = out[i];
        }
    }
}

__attribute__((section(".vectors"), used)) static void (*const VECTORS[16 + UART_INTERRUPT + 1])(
    void) = {
    [0] = (void (*)(void))stack_top,
    [1] = start,
    [15] = on_tick,
    [16 + UART_INTERRUPT] = on_uart,
};
