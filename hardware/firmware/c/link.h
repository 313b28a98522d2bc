/* A node of the link protocol (docs/link-protocol.md) with one report under way at a time.
 *
 * With LINK_WITH_KEY it takes and sends only authenticated frames, else only frames with a checksum.
 * No heap, no clock, no port: give it bytes with link_receive, send what link_poll makes, and hand
 * in values with link_report. */
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest frame that it takes, and that it makes. */
#define LINK_MAX_FRAME 192
/* The longest stuffed frame, with its delimiter. */
#define LINK_MAX_STUFFED (LINK_MAX_FRAME + 2)
/* The longest payload of a report. */
#define LINK_MAX_REPORT 64
/* The longest payload of an answer to a command. */
#define LINK_MAX_ANSWER 48
/* Most values of a report. */
#define LINK_MAX_VALUES 8

struct link {
    /* Its own; bytes are at the front, where the shortest instructions reach them. */
    uint8_t is_open, has_response, has_asked;
    uint8_t report;       /* under way: 0 none, 1 that waits, 2 that was sent */
    uint8_t payload_len, answer_len;
    uint8_t rx_len, rx_left, rx_code; /* a length of one more than there is room for: too long */

    /* The time: milliseconds since 1970 at uptime 0, once it is known. */
    uint8_t has_time;

    /* To be set before the first call; everything else is zero then. */
    uint8_t channels_len;
    uint32_t device;
    uint32_t epoch;
    const uint8_t *channels; /* the table: a CBOR array */
#ifdef LINK_WITH_KEY
    const uint8_t *key; /* 32 bytes */
#endif
    /* Carries a command out, and writes the payload of the answer; its length. */
    size_t (*command)(const uint8_t *payload, size_t len, uint8_t answer[LINK_MAX_ANSWER]);
    void (*keep_epoch)(uint32_t epoch); /* keeps it over a restart, or null */

    /* Milliseconds since the node started, to be set before each call. */
    uint64_t now;

    uint16_t settled; /* the last number that is */
    uint16_t last_command;
    uint32_t at, asked, pause; /* the last 32 bits of times: they are compared over short spans */
    uint32_t acknowledged;     /* reports so far */
    uint64_t unix_at_start_ms;
    uint8_t payload[LINK_MAX_REPORT];
    uint8_t answer[LINK_MAX_ANSWER]; /* to the last command */
    uint8_t rx[LINK_MAX_FRAME];
};

/* Takes values in the order of the channels; false while another report is under way. */
bool link_report(struct link *link, const int32_t *values, size_t count);

/* Takes a byte from the port. */
void link_receive(struct link *link, uint8_t byte);

/* Writes what is to be sent now to `out`, which has room for LINK_MAX_STUFFED; how many bytes. */
size_t link_poll(struct link *link, uint8_t *out);

#endif
