/* A node of the link protocol (docs/link-protocol.md) with one report under way at a time.
 *
 * No heap, no clock, no port: give it bytes with link_receive, send what link_poll makes, and hand
 * in values with link_report. Times are milliseconds since the node started. */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest frame that it takes, and that it makes. */
#define LINK_MAX_FRAME 112
/* The longest stuffed frame, with its delimiter. */
#define LINK_MAX_STUFFED (LINK_MAX_FRAME + 2)
/* The longest payload of a report. */
#define LINK_MAX_REPORT 64
/* Most values of a report. */
#define LINK_MAX_VALUES 8

struct link {
    /* To be set before the first call; everything else is zero then. */
    uint32_t device;
    uint32_t epoch;
    const uint8_t *key;      /* 32 bytes, or null for a checksum */
    const uint8_t *channels; /* the table: a CBOR array */
    uint8_t channels_len;
    uint8_t (*command)(const uint8_t *payload, size_t len); /* carries one out, or null */
    void (*keep_epoch)(uint32_t epoch);                      /* keeps it over a restart, or null */

    /* The time: milliseconds since 1970 at uptime 0, once it is known. */
    bool has_time;
    uint64_t unix_at_start_ms;
    uint32_t acknowledged; /* reports so far */

    /* Its own. */
    bool is_open, has_report, is_again, has_response, has_asked;
    uint16_t settled; /* the last number that is */
    uint16_t last_command;
    uint8_t result;
    uint8_t report[LINK_MAX_REPORT];
    uint8_t report_len;
    uint32_t at, asked, pause; /* the last 32 bits of times: they are compared over short spans */
    uint8_t rx[LINK_MAX_FRAME];
    uint8_t rx_len, rx_left, rx_code;
    bool rx_bad;
};

/* Takes values in the order of the channels; false while another report is under way. */
bool link_report(struct link *link, uint64_t now, const int32_t *values, size_t count);

/* Takes a byte from the port. */
void link_receive(struct link *link, uint64_t now, uint8_t byte);

/* Writes what is to be sent now to `out`, which has room for LINK_MAX_STUFFED; how many bytes. */
size_t link_poll(struct link *link, uint64_t now, uint8_t *out);

#endif
