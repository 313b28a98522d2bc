#include "link.h"

#ifdef LINK_WITH_KEY
#include "sha256.h"
#endif

enum { HELLO = 0x11, DATA, ACK, COMMAND, RESPONSE, TIME };
enum { ACK_REQUESTED = 1, AUTHENTICATED = 2, RETRANSMIT = 4, TIME_WANTED = 8 };
enum { OK, BUSY, HELLO_WANTED, REFUSED };
enum { NONE, WAITS, IS_SENT };
enum { UNKNOWN = 4, NO_MAP_YET };
enum { UNSIGNED = 0x00, NEGATIVE = 0x20, MAP = 0xa0 };
enum { FIRST_PAUSE_MS = 2000, LONGEST_PAUSE_MS = 60000, LONGEST_BUSY_MS = 600000 };

#ifdef LINK_WITH_KEY
enum { TRAILER = 8, ALWAYS = AUTHENTICATED };
#else
enum { TRAILER = 2, ALWAYS = 0 };
#endif

/* A header as it is on the wire, at any address. */
struct __attribute__((packed, may_alias)) header {
    uint8_t type, flags;
    uint32_t device, epoch;
    uint16_t sequence;
};
enum { HEADER = sizeof(struct header) };
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "headers are little endian");

/* CBOR (RFC 8949 §3): the head of an item, in its shortest form. */
static uint8_t *put(uint8_t *p, uint8_t major, uint64_t n) {
    uint32_t low = (uint32_t)n, high = (uint32_t)(n >> 32), len = 0;
    *p = (uint8_t)(major | low);
    if (high || low >= 24) {
        uint32_t follow = high ? 3 : low >> 16 ? 2 : low >> 8 ? 1 : 0;
        *p = (uint8_t)(major | (24 + follow));
        len = 1u << follow;
        for (uint32_t i = len; i; i--, n >>= 8) p[i] = (uint8_t)n;
    }
    return p + 1 + len;
}

/* `{0: n`: how the payloads of a node begin. */
static uint8_t *begin(uint8_t *p, uint8_t pairs, uint64_t n) {
    *p++ = MAP | pairs;
    *p++ = 0;
    return put(p, UNSIGNED, n);
}

static uint8_t *append(uint8_t *p, const uint8_t *bytes, size_t len) {
    while (len--) *p++ = *bytes++;
    return p;
}

/* The numbers with the keys 0 to 3 of a map; the high half is that of the first. */
struct fields {
    uint32_t low[4], high;
};

/* Reads a map; false where it is none. */
static bool read_map(const uint8_t *at, const uint8_t *end, struct fields *fields) {
    /* Keys and values that are left, and what is left inside the one at hand. */
    uint32_t left = 0, inside = 0, key = NO_MAP_YET;
    for (int i = 0; i < 4; i++) fields->low[i] = 0;
    fields->high = 0;
    do {
        if (at == end) return false;
        uint32_t major = *at >> 5, n = *at++ & 0x1f, high = 0;
        if (n > 27) return false;
        if (n >= 24) {
            uint32_t len = 1u << (n - 24);
            for (n = 0; len; len--) {
                if (at == end) return false;
                high = high << 8 | n >> 24;
                n = n << 8 | *at++;
            }
        }
        /* Strings, arrays and maps: an item has at least a byte. */
        if (major - 2 < 4 && (high || n > (size_t)(end - at))) return false;
        if (key == NO_MAP_YET) {
            if (major != 5) return false;
            left = 2 * n;
            key = UNKNOWN;
            continue;
        }
        if (inside) {
            inside--;
        } else {
            bool is_key = left-- % 2 == 0;
            if (major && (is_key || key < UNKNOWN)) return false;
            if (is_key) {
                key = high || n > UNKNOWN ? UNKNOWN : n;
            } else if (key < UNKNOWN) {
                fields->low[key] = n;
                if (!key) fields->high = high;
            }
        }
        if (major < 4) at += major < 2 ? 0 : n;
        else if (major < 6) inside += n << (major - 4);
        else inside += major == 6;
    } while (left || inside);
    return at == end;
}

/* Writes the trailer of a frame to `code`. */
static void trailer(const struct link *link, const uint8_t *frame, size_t len, uint32_t code[8]) {
#ifdef LINK_WITH_KEY
    hmac_sha256(link->key, frame, len, code);
#else
    (void)link;
    uint32_t crc = 0xffff;
    while (len--) {
        crc ^= *frame++;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x8408 : crc >> 1;
    }
    code[0] = ~crc;
#endif
}

bool link_report(struct link *link, const int32_t *values, size_t count) {
    if (link->report || count > LINK_MAX_VALUES) return false;
    uint8_t *p = begin(link->payload, 2, link->now);
    *p++ = 1;
    *p++ = (uint8_t)(MAP | count);
    for (size_t i = 0; i < count; i++) {
        *p++ = (uint8_t)i;
        uint32_t sign = (uint32_t)(values[i] >> 31);
        p = put(p, sign & NEGATIVE, (uint32_t)values[i] ^ sign);
    }
    link->payload_len = (uint8_t)(p - link->payload);
    link->report = WAITS;
    if (link->is_open) link->at = (uint32_t)link->now;
    return true;
}

size_t link_poll(struct link *link, uint8_t *out) {
    uint32_t now = (uint32_t)link->now, sequence = link->settled + 1u;
    uint8_t *p = out + 1 + HEADER;
    struct header *header = (struct header *)(out + 1);
    uint8_t flags = ALWAYS;
    if (link->has_response) {
        link->has_response = false;
        header->type = RESPONSE;
        sequence = link->last_command;
        p = append(p, link->answer, link->answer_len);
    } else {
        if ((link->is_open && !link->report) || (int32_t)(now - link->at) < 0) return 0;
        if (!link->pause) link->pause = FIRST_PAUSE_MS;
        link->at = now + link->pause;
        if (link->pause < LONGEST_PAUSE_MS) link->pause *= 2;
        flags |= ACK_REQUESTED;
        if (link->is_open) {
            header->type = DATA;
            if (link->report == IS_SENT) flags |= RETRANSMIT;
            link->report = IS_SENT;
            p = append(p, link->payload, link->payload_len);
        } else {
            header->type = HELLO;
            flags |= TIME_WANTED;
            p = begin(p, link->last_command ? 4 : 3, link->now);
            *p++ = 1;
            p = append(p, link->channels, link->channels_len);
            *p++ = 2;
            p = put(p, UNSIGNED, sequence);
            sequence = 0;
            if (link->last_command) {
                *p++ = 3;
                p = put(p, UNSIGNED, link->last_command);
            }
            link->asked = now;
            link->has_asked = true;
        }
    }
    header->flags = flags;
    header->device = link->device;
    header->epoch = link->epoch;
    header->sequence = (uint16_t)sequence;
    uint32_t code[8];
    trailer(link, out + 1, (size_t)(p - out - 1), code);
    p = append(p, (const uint8_t *)code, TRAILER);
    /* COBS where it stands: a frame is shorter than a block can be, so that only zeros change. */
    *p = 0;
    uint8_t *block = out;
    for (uint8_t *at = out + 1; at <= p; at++) {
        if (!*at) {
            *block = (uint8_t)(at - block);
            block = at;
        }
    }
    return (size_t)(p + 1 - out);
}

static void close(struct link *link) {
    link->is_open = false;
    link->at = (uint32_t)link->now;
    link->pause = 0;
}

/* Goes on behind an epoch. */
static void leave_epoch(struct link *link, uint32_t epoch) {
    if (!++epoch) return;
    link->epoch = epoch;
    link->settled = link->last_command = 0;
    if (link->report) link->report = WAITS;
    close(link);
    if (link->keep_epoch) link->keep_epoch(epoch);
}

static void take_ack(struct link *link, const struct header *header,
                     const struct fields *fields) {
    uint32_t status = fields->low[1], known = header->sequence;
    for (uint32_t bits = fields->low[0]; bits; bits >>= 1) known++;
    uint32_t sent = link->settled + (uint32_t)(link->report == IS_SENT);
    if (header->epoch < link->epoch || status > REFUSED) return;
    if (header->epoch > link->epoch || known > sent) {
        /* It has what was never sent: the count was lost. */
        leave_epoch(link, header->epoch);
        return;
    }
    bool is_settled = known > link->settled;
    /* At most one is under way: what is behind the settled ones is it. */
    if (is_settled || (status == REFUSED && sent > link->settled && fields->low[3] == sent)) {
        link->acknowledged += is_settled;
        link->report = NONE;
        link->pause = 0;
        if (++link->settled == UINT16_MAX && link->epoch != UINT32_MAX) {
            leave_epoch(link, link->epoch);
            return;
        }
    }
    if (status == HELLO_WANTED) {
        if (link->is_open) close(link);
        return;
    }
    if (!link->is_open) close(link);
    link->is_open = true;
    if (status == BUSY) {
        uint32_t after = fields->low[2];
        link->at = (uint32_t)link->now + (after > LONGEST_BUSY_MS ? LONGEST_BUSY_MS : after);
    }
}

static void take(struct link *link) {
    const struct header *header = (const struct header *)link->rx;
    const uint8_t *payload = link->rx + HEADER, *end = link->rx + link->rx_len - TRAILER;
    uint32_t code[8];
    uint8_t differs = 0;
    if (link->rx_len < HEADER + TRAILER || (header->flags & AUTHENTICATED) != ALWAYS) return;
    trailer(link, link->rx, (size_t)(end - link->rx), code);
    /* In a time that does not depend on where they differ. */
    for (int i = 0; i < TRAILER; i++) differs |= ((const uint8_t *)code)[i] ^ end[i];
    if (differs || header->device != link->device) return;

    struct fields fields;
    if (header->type == COMMAND) {
        if (header->epoch != link->epoch || header->sequence < link->last_command) return;
        if (header->sequence > link->last_command) {
            link->last_command = header->sequence;
            link->answer_len =
                (uint8_t)link->command(payload, (size_t)(end - payload), link->answer);
        }
        link->has_response = true;
    } else if (read_map(payload, end, &fields)) {
        if (header->type == ACK) {
            take_ack(link, header, &fields);
        } else if (header->type == TIME && link->has_asked && fields.low[1] == link->asked) {
            link->has_asked = false;
            link->has_time = true;
            uint64_t unix = (uint64_t)fields.high << 32 | fields.low[0];
            link->unix_at_start_ms = unix - (link->now - ((uint32_t)link->now - link->asked) / 2);
        }
    }
}

void link_receive(struct link *link, uint8_t byte) {
    if (!byte) {
        if (!link->rx_left && link->rx_len <= LINK_MAX_FRAME) take(link);
        link->rx_len = link->rx_left = link->rx_code = 0;
        return;
    }
    uint8_t kept = byte;
    if (link->rx_left) {
        link->rx_left--;
    } else {
        bool is_zero = link->rx_code && link->rx_code < 0xff;
        link->rx_code = byte;
        link->rx_left = (uint8_t)(byte - 1);
        if (!is_zero) return;
        kept = 0;
    }
    if (link->rx_len < LINK_MAX_FRAME) link->rx[link->rx_len] = kept;
    if (link->rx_len <= LINK_MAX_FRAME) link->rx_len++;
}
