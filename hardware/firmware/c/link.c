#include "link.h"

#include "sha256.h"

enum { HELLO = 0x11, DATA, ACK, COMMAND, RESPONSE, TIME };
enum { ACK_REQUESTED = 1, AUTHENTICATED = 2, RETRANSMIT = 4, TIME_WANTED = 8 };
enum { OK, BUSY, HELLO_WANTED, REFUSED };
enum { HEADER = 12, CRC = 2, CODE = 8 };
enum { FIRST_PAUSE_MS = 2000, LONGEST_PAUSE_MS = 60000, LONGEST_BUSY_MS = 600000 };

/* CBOR (RFC 8949 §3): the head of an item, in its shortest form. */
static uint8_t *put(uint8_t *p, uint8_t major, uint64_t n) {
    uint8_t follow = 0;
    if (n < 24) {
        *p++ = (uint8_t)(major << 5 | n);
        return p;
    }
    while (follow < 3 && n >> (8u << follow)) follow++;
    *p++ = (uint8_t)(major << 5 | (24 + follow));
    for (int shift = (8 << follow) - 8; shift >= 0; shift -= 8) *p++ = (uint8_t)(n >> shift);
    return p;
}

/* What is left of a payload. */
struct reader {
    const uint8_t *at, *end;
    bool is_bad;
};

static uint64_t head(struct reader *r, uint8_t *major) {
    if (r->at == r->end) goto bad;
    uint8_t first = *r->at++, low = first & 0x1f;
    *major = first >> 5;
    if (low < 24) return low;
    if (low > 27) goto bad;
    uint64_t n = 0;
    for (unsigned len = 1u << (low - 24); len; len--) {
        if (r->at == r->end) goto bad;
        n = n << 8 | *r->at++;
    }
    return n;
bad:
    r->is_bad = true;
    r->at = r->end;
    *major = 0;
    return 0;
}

static uint64_t number(struct reader *r) {
    uint8_t major;
    uint64_t n = head(r, &major);
    if (major != 0) r->is_bad = true;
    return n;
}

static void skip(struct reader *r) {
    for (uint64_t items = 1; items && !r->is_bad; items--) {
        uint8_t major;
        uint64_t n = head(r, &major);
        if (major == 2 || major == 3) {
            if (n > (uint64_t)(r->end - r->at)) r->is_bad = true;
            else r->at += n;
        } else if (major >= 4 && major <= 6) {
            items += major == 4 ? n : major == 5 ? 2 * n : 1;
        }
    }
}

/* The numbers with the keys 0 to 3 of a map. */
struct fields {
    uint64_t first;
    uint32_t others[3];
};

/* Reads a map; false where it is none. */
static bool read_map(const uint8_t *at, const uint8_t *end, struct fields *fields) {
    struct reader r = {at, end, false};
    uint8_t major;
    uint64_t pairs = head(&r, &major);
    if (major != 5) return false;
    while (pairs-- && !r.is_bad) {
        uint64_t key = number(&r);
        if (key == 0) fields->first = number(&r);
        else if (key < 4) fields->others[key - 1] = (uint32_t)number(&r);
        else skip(&r);
    }
    return !r.is_bad && r.at == r.end;
}

static uint16_t crc(const uint8_t *bytes, size_t len) {
    uint16_t crc = 0xffff;
    while (len--) {
        crc ^= *bytes++;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x8408 : crc >> 1;
    }
    return (uint16_t)~crc;
}

static uint32_t get(const uint8_t *bytes, int len) {
    uint32_t n = 0;
    while (len--) n = n << 8 | bytes[len];
    return n;
}

static void set(uint8_t *bytes, int len, uint32_t n) {
    for (; len--; n >>= 8) *bytes++ = (uint8_t)n;
}

/* Writes the trailer of a frame behind its payload; how long it is. */
static size_t trailer(const struct link *link, const uint8_t *frame, size_t len, uint8_t code[32]) {
    if (link->key) {
        hmac_sha256(link->key, frame, len, code);
        return CODE;
    }
    set(code, CRC, crc(frame, len));
    return CRC;
}

static size_t stuff(const uint8_t *frame, size_t len, uint8_t *out) {
    /* A frame is shorter than a block of COBS can be. */
    size_t block = 0;
    out[0] = 1;
    for (size_t i = 0; i < len; i++) {
        if (frame[i]) {
            out[i + 1] = frame[i];
            out[block]++;
        } else {
            block = i + 1;
            out[block] = 1;
        }
    }
    out[len + 1] = 0;
    return len + 2;
}

static size_t seal(struct link *link, uint8_t type, uint8_t flags, uint16_t sequence,
                   uint8_t *frame, const uint8_t *end, uint8_t *out) {
    frame[0] = type;
    frame[1] = flags | (link->key ? AUTHENTICATED : 0);
    set(frame + 2, 4, link->device);
    set(frame + 6, 4, link->epoch);
    set(frame + 10, 2, sequence);
    uint8_t code[32];
    size_t len = (size_t)(end - frame), more = trailer(link, frame, len, code);
    for (size_t i = 0; i < more; i++) frame[len + i] = code[i];
    return stuff(frame, len + more, out);
}

bool link_report(struct link *link, uint64_t now, const int32_t *values, size_t count) {
    if (link->has_report || count > LINK_MAX_VALUES) return false;
    uint8_t *p = link->report;
    *p++ = 0xa2;
    *p++ = 0;
    p = put(p, 0, now);
    *p++ = 1;
    p = put(p, 5, count);
    for (size_t i = 0; i < count; i++) {
        p = put(p, 0, i);
        p = values[i] < 0 ? put(p, 1, (uint32_t)~values[i]) : put(p, 0, (uint32_t)values[i]);
    }
    link->report_len = (uint8_t)(p - link->report);
    link->has_report = true;
    link->is_again = false;
    if (link->is_open) link->at = (uint32_t)now;
    return true;
}

size_t link_poll(struct link *link, uint64_t now, uint8_t *out) {
    uint8_t frame[LINK_MAX_FRAME];
    uint8_t *p = frame + HEADER;
    if (link->has_response) {
        link->has_response = false;
        *p++ = 0xa1;
        *p++ = 0;
        p = put(p, 0, link->result);
        return seal(link, RESPONSE, 0, link->last_command, frame, p, out);
    }
    if (link->is_open && !link->has_report) return 0;
    if ((int32_t)((uint32_t)now - link->at) < 0) return 0;
    if (!link->pause) link->pause = FIRST_PAUSE_MS;
    link->at = (uint32_t)now + link->pause;
    if (link->pause < LONGEST_PAUSE_MS) link->pause *= 2;
    uint16_t sequence = (uint16_t)(link->settled + 1);
    if (!link->is_open) {
        *p++ = link->last_command ? 0xa4 : 0xa3;
        *p++ = 0;
        p = put(p, 0, now);
        *p++ = 1;
        for (int i = 0; i < link->channels_len; i++) *p++ = link->channels[i];
        *p++ = 2;
        p = put(p, 0, sequence);
        if (link->last_command) {
            *p++ = 3;
            p = put(p, 0, link->last_command);
        }
        link->asked = (uint32_t)now;
        link->has_asked = true;
        return seal(link, HELLO, ACK_REQUESTED | TIME_WANTED, 0, frame, p, out);
    }
    for (int i = 0; i < link->report_len; i++) *p++ = link->report[i];
    uint8_t flags = ACK_REQUESTED | (link->is_again ? RETRANSMIT : 0);
    link->is_again = true;
    return seal(link, DATA, flags, sequence, frame, p, out);
}

static void close(struct link *link, uint32_t now) {
    link->is_open = false;
    link->at = now;
    link->pause = 0;
}

static void begin_epoch(struct link *link, uint32_t now, uint32_t epoch) {
    link->epoch = epoch;
    link->settled = 0;
    link->last_command = 0;
    link->is_again = false;
    close(link, now);
    if (link->keep_epoch) link->keep_epoch(epoch);
}

static void take_ack(struct link *link, uint32_t now, uint32_t epoch, uint16_t cumulative,
                     const struct fields *fields) {
    uint32_t bitmap = (uint32_t)fields->first, status = fields->others[0];
    if (epoch > link->epoch && epoch != UINT32_MAX) begin_epoch(link, now, epoch + 1);
    if (epoch != link->epoch || status > REFUSED) return;
    uint32_t known = cumulative;
    for (uint32_t bits = bitmap; bits; bits >>= 1) known++;
    if (known > link->settled + (uint32_t)(link->has_report && link->is_again)) {
        /* It has numbers that were never sent: the epoch was used before. */
        if (epoch != UINT32_MAX) begin_epoch(link, now, epoch + 1);
        return;
    }
    uint16_t sequence = (uint16_t)(link->settled + 1), ahead = (uint16_t)(sequence - cumulative);
    bool is_settled = sequence <= cumulative || (ahead <= 32 && bitmap >> (ahead - 1) & 1);
    bool is_refused = status == REFUSED && fields->others[2] == sequence;
    if (link->has_report && (is_settled || is_refused)) {
        link->acknowledged += is_settled;
        link->has_report = false;
        link->settled = sequence;
        link->pause = 0;
        if (sequence == UINT16_MAX && link->epoch != UINT32_MAX) {
            begin_epoch(link, now, link->epoch + 1);
            return;
        }
    }
    if (status == HELLO_WANTED) {
        if (link->is_open) close(link, now);
        return;
    }
    if (!link->is_open) {
        close(link, now);
        link->is_open = true;
    }
    if (status == BUSY) {
        uint32_t after = fields->others[1];
        link->at = now + (after > LONGEST_BUSY_MS ? LONGEST_BUSY_MS : after);
    }
}

static void take(struct link *link, uint64_t uptime, const uint8_t *frame, size_t len) {
    uint32_t now = (uint32_t)uptime;
    uint8_t code[32], differs = 0;
    size_t more = link->key ? CODE : CRC;
    if (len < HEADER + more || !(frame[1] & AUTHENTICATED) != !link->key) return;
    len -= more;
    trailer(link, frame, len, code);
    /* In a time that does not depend on where they differ. */
    for (size_t i = 0; i < more; i++) differs |= code[i] ^ frame[len + i];
    if (differs || get(frame + 2, 4) != link->device) return;

    uint32_t epoch = get(frame + 6, 4);
    uint16_t sequence = (uint16_t)get(frame + 10, 2);
    struct fields fields = {0};
    if (frame[0] == COMMAND && epoch == link->epoch && sequence >= link->last_command) {
        if (sequence > link->last_command) {
            link->last_command = sequence;
            link->result = link->command ? link->command(frame + HEADER, len - HEADER) : 1;
        }
        link->has_response = true;
    } else if (frame[0] == ACK && read_map(frame + HEADER, frame + len, &fields)) {
        take_ack(link, now, epoch, sequence, &fields);
    } else if (frame[0] == TIME && link->has_asked &&
               read_map(frame + HEADER, frame + len, &fields) &&
               fields.others[0] == link->asked) {
        link->has_asked = false;
        link->has_time = true;
        link->unix_at_start_ms = fields.first - (uptime - (now - link->asked) / 2);
    }
}

static void keep(struct link *link, uint8_t byte) {
    if (link->rx_len < LINK_MAX_FRAME) link->rx[link->rx_len++] = byte;
    else link->rx_bad = true;
}

void link_receive(struct link *link, uint64_t now, uint8_t byte) {
    if (!byte) {
        if (!link->rx_bad && !link->rx_left) take(link, now, link->rx, link->rx_len);
        link->rx_len = link->rx_left = link->rx_code = 0;
        link->rx_bad = false;
    } else if (link->rx_left) {
        link->rx_left--;
        keep(link, byte);
    } else {
        if (link->rx_code && link->rx_code < 0xff) keep(link, 0);
        link->rx_code = byte;
        link->rx_left = (uint8_t)(byte - 1);
    }
}
