#include "tasks.h"

#include <stdbool.h>

#include "sha256.h"

enum { DONE, UNKNOWN_CODE, BAD_VALUE, FAILED, MORE, CHECKSUM };
enum { UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG };
enum { SUM = 32 };

int32_t task_level;

static struct {
    uint32_t size, have;
    uint8_t sum[SUM];
    bool is_offered;
    uint8_t bytes[TASK_MAX_IMAGE];
} image;

/* An item of CBOR (RFC 8949 §3): what it is, and its number or length; strings at `at`. */
struct item {
    uint32_t major, n;
    const uint8_t *at;
};

/* Reads the head of an item and, of a string, its bytes; what is behind it, or null where it is
 * none that a command has. */
static const uint8_t *read(const uint8_t *at, const uint8_t *end, struct item *item) {
    if (!at || at == end) return NULL;
    item->major = *at >> 5;
    item->n = *at++ & 0x1f;
    if (item->n > 26) return NULL;
    if (item->n >= 24) {
        uint32_t len = 1u << (item->n - 24);
        if (len > (size_t)(end - at)) return NULL;
        for (item->n = 0; len; len--) item->n = item->n << 8 | *at++;
    }
    item->at = at;
    if (item->major != BYTES && item->major != TEXT) return at;
    return item->n > (size_t)(end - at) ? NULL : at + item->n;
}

/* Reads over an item and all that is in it. */
static const uint8_t *skip(const uint8_t *at, const uint8_t *end) {
    struct item item;
    for (uint32_t left = 1; left && at; left--) {
        at = read(at, end, &item);
        /* Each has at least a byte: more than there are bytes is no item. */
        if (!at || (item.major >= ARRAY && item.major <= MAP && item.n > (size_t)(end - at)))
            return NULL;
        if (item.major == ARRAY) left += item.n;
        if (item.major == MAP) left += 2 * item.n;
        if (item.major == TAG) left++;
    }
    return at;
}

/* Where the value of a key from 0 to 4 is in a map: null where it is not there. False where this
 * is no map. */
static bool read_map(const uint8_t *at, const uint8_t *end, const uint8_t *values[5],
                     const uint8_t **behind) {
    struct item item;
    for (int i = 0; i < 5; i++) values[i] = NULL;
    at = read(at, end, &item);
    if (!at || item.major != MAP) return false;
    for (uint32_t pairs = item.n; pairs; pairs--) {
        at = read(at, end, &item);
        if (!at || item.major != UNSIGNED) return false;
        if (item.n < 5) values[item.n] = at;
        at = skip(at, end);
        if (!at) return false;
    }
    *behind = at;
    return true;
}

static bool take(const uint8_t *at, const uint8_t *end, uint32_t major, struct item *item) {
    return read(at, end, item) && item->major == major;
}

/* `{0: status}`, with a second pair that follows. */
static uint8_t *begin(uint8_t *answer, uint8_t pairs, uint8_t status) {
    *answer++ = (uint8_t)(MAP << 5 | pairs);
    *answer++ = 0;
    *answer++ = status;
    return answer;
}

static uint8_t *copy(uint8_t *to, const uint8_t *from, size_t len) {
    while (len--) *to++ = *from++;
    return to;
}

static uint8_t *set_level(const uint8_t *value, const uint8_t *end, uint8_t *answer) {
    struct item item;
    if (!value) {
        task_level = 0;
        return begin(answer, 1, DONE);
    }
    const uint8_t *behind = read(value, end, &item);
    if (!behind || item.major > NEGATIVE || item.n > INT32_MAX) return begin(answer, 1, BAD_VALUE);
    task_level = item.major == NEGATIVE ? -1 - (int32_t)item.n : (int32_t)item.n;
    answer = begin(answer, 2, DONE);
    *answer++ = 1;
    return copy(answer, value, (size_t)(behind - value));
}

/* How far the image is: the offset that is wanted, or what became of it. */
static uint8_t *tell_image(uint8_t *answer) {
    if (!image.is_offered) return begin(answer, 1, BAD_VALUE);
    if (image.have < image.size) {
        answer = begin(answer, 3, MORE);
        *answer++ = 3;
        *answer++ = 26;
        for (int shift = 24; shift >= 0; shift -= 8) *answer++ = (uint8_t)(image.have >> shift);
        *answer++ = 4;
        *answer++ = 24;
        *answer++ = TASK_MAX_BLOCK;
        return answer;
    }
    uint32_t hash[8];
    sha256(NULL, 0, image.bytes, image.size, hash);
    for (int i = 0; i < SUM; i++) {
        if (((const uint8_t *)hash)[i] != image.sum[i]) {
            image.is_offered = false;
            return begin(answer, 1, CHECKSUM);
        }
    }
    answer = begin(answer, 2, DONE);
    *answer++ = 1;
    *answer++ = BYTES << 5 | 24;
    *answer++ = SUM;
    return copy(answer, image.sum, SUM);
}

/* An announcement: the same image goes on where it was. */
static uint8_t *take_offer(const uint8_t *value, const uint8_t *end, uint8_t *answer) {
    const uint8_t *parts[5], *behind;
    struct item size, sum;
    if (!read_map(value, end, parts, &behind) || !take(parts[1], end, UNSIGNED, &size) ||
        size.n > TASK_MAX_IMAGE || !take(parts[2], end, BYTES, &sum) || sum.n != SUM)
        return begin(answer, 1, BAD_VALUE);
    bool is_same = image.is_offered && image.size == size.n;
    for (int i = 0; i < SUM; i++) is_same = is_same && image.sum[i] == sum.at[i];
    if (!is_same) image.have = 0;
    image.size = size.n;
    copy(image.sum, sum.at, SUM);
    image.is_offered = true;
    return tell_image(answer);
}

/* A block: any but the one that is wanted came before. */
static uint8_t *take_block(const uint8_t *const values[5], const uint8_t *end, uint8_t *answer) {
    struct item offset, bytes;
    if (!take(values[3], end, UNSIGNED, &offset) || !take(values[4], end, BYTES, &bytes))
        return begin(answer, 1, BAD_VALUE);
    if (image.is_offered && offset.n == image.have && bytes.n <= image.size - image.have) {
        copy(image.bytes + image.have, bytes.at, bytes.n);
        image.have += bytes.n;
    }
    return tell_image(answer);
}

size_t task_run(const uint8_t *payload, size_t len, uint8_t *answer) {
    const uint8_t *end = payload + len, *values[5], *behind;
    struct item code;
    uint8_t *to;
    if (!read_map(payload, end, values, &behind) || behind != end ||
        !take(values[0], end, UNSIGNED, &code))
        to = begin(answer, 1, BAD_VALUE);
    else if (code.n == TASK_LEVEL)
        to = set_level(values[1], end, answer);
    else if (code.n == TASK_IMAGE)
        to = values[1] ? take_offer(values[1], end, answer) : take_block(values, end, answer);
    else
        to = begin(answer, 1, UNKNOWN_CODE);
    return (size_t)(to - answer);
}
