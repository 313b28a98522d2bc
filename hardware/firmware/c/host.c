/* The node's protocol on a host, driven by lines on the standard input, for tests:
 *
 *     node DEVICE EPOCH SETTLED              begins
 *     report NOW VALUE...                    taken, or full
 *     poll NOW                               the stuffed frame in hexadecimal, or none
 *     rx NOW HEX                             ok
 *     state                                  epoch settled acknowledged is_open has_time unix_at_start_ms
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"
#include "tasks.h"

/* The channels of the standard's vectors. */
static const uint8_t CHANNELS[] = {
    0x83, 0x83, 0x64, 't', 'e', 'm', 'p', 0x63, 'C', 'e', 'l', 0x21, 0x83, 0x63, 'h', 'u', 'm',
    0x63, '%',  'R',  'H', 0x20, 0x83, 0x65, 'c', 'o', 'u', 'n', 't', 0x60, 0x00};

int main(void) {
    struct link node = {0};
    char line[8192];
    while (fgets(line, sizeof line, stdin)) {
        char *word = strtok(line, " \n");
        if (!word) continue;
        if (!strcmp(word, "node")) {
            memset(&node, 0, sizeof node);
            node.device = (uint32_t)strtoul(strtok(NULL, " \n"), NULL, 10);
            node.epoch = (uint32_t)strtoul(strtok(NULL, " \n"), NULL, 10);
            node.settled = (uint16_t)strtoul(strtok(NULL, " \n"), NULL, 10);
#ifdef LINK_WITH_KEY
            static uint8_t key[32];
            for (int i = 0; i < 32; i++) key[i] = (uint8_t)i;
            node.key = key;
#endif
            node.channels = CHANNELS;
            node.channels_len = sizeof CHANNELS;
            node.command = task_run;
            puts("ok");
        } else if (!strcmp(word, "state")) {
            printf("%" PRIu32 " %u %" PRIu32 " %d %d %" PRIu64 "\n", node.epoch, node.settled,
                   node.acknowledged, node.is_open, node.has_time, node.unix_at_start_ms);
        } else {
            node.now = strtoull(strtok(NULL, " \n"), NULL, 10);
            if (!strcmp(word, "report")) {
                int32_t values[LINK_MAX_VALUES];
                size_t count = 0;
                for (char *value; (value = strtok(NULL, " \n")) && count < LINK_MAX_VALUES;)
                    values[count++] = (int32_t)strtol(value, NULL, 10);
                puts(link_report(&node, values, count) ? "taken" : "full");
            } else if (!strcmp(word, "poll")) {
                uint8_t out[LINK_MAX_STUFFED];
                size_t len = link_poll(&node, out);
                for (size_t i = 0; i < len; i++) printf("%02x", out[i]);
                puts(len ? "" : "none");
            } else {
                char *hex = strtok(NULL, " \n");
                for (unsigned byte; hex && sscanf(hex, "%2x", &byte) == 1; hex += 2)
                    link_receive(&node, (uint8_t)byte);
                puts("ok");
            }
        }
        fflush(stdout);
    }
    return 0;
}
