#include "sha256.h"

#include <stdbool.h>

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static const uint32_t INITIAL[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

static uint32_t rotate(uint32_t x, unsigned by) { return x >> by | x << (32 - by); }

/* Takes a block, which is the first 16 words of `w`; the others are room for its schedule. */
static void compress(uint32_t state[8], uint32_t w[64]) {
    /* The working variables a to h are the 8 words at `s`, which moves down by one a round. */
    uint32_t rounds[64 + 8], *s = rounds + 64;
    for (int i = 0; i < 8; i++) s[i] = state[i];
    for (int i = 0; i < 64; i++, w++) {
        if (i >= 16) {
            uint32_t low = w[-15], high = w[-2];
            *w = w[-16] + w[-7] + (rotate(low, 7) ^ rotate(low, 18) ^ low >> 3) +
                 (rotate(high, 17) ^ rotate(high, 19) ^ high >> 10);
        }
        uint32_t a = s[0], e = s[4];
        uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                      (s[6] ^ (e & (s[5] ^ s[6]))) + K[i] + *w;
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                      ((a & s[1]) | (s[2] & (a | s[1])));
        s[3] += t1;
        *--s = t1 + t2;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

void sha256(const uint8_t key[32], uint8_t pad, const uint8_t *message, uint32_t len,
            uint32_t hash[8]) {
    uint32_t state[8], w[64];
#pragma GCC unroll 1
    for (int i = 0; i < 8; i++) state[i] = INITIAL[i];
    uint32_t start = key ? 0 : 64;
    len += 64;
    for (uint32_t at = start;;) {
        uint32_t byte = at < 32 ? key[at] ^ pad : pad;
        if (at >= 64) byte = at < len ? message[at - 64] : at == len ? 0x80 : 0;
        uint32_t word = at++ % 64 / 4;
        w[word] = w[word] << 8 | byte;
        if (at % 64) continue;
        /* A block that has room for the length is the last. */
        bool is_last = at > len + 8;
        if (is_last) w[15] = (len - start) * 8;
        compress(state, w);
        if (is_last) break;
    }
    for (int i = 0; i < 8; i++) hash[i] = __builtin_bswap32(state[i]);
}

void hmac_sha256(const uint8_t key[32], const uint8_t *message, size_t len, uint32_t code[8]) {
    sha256(key, 0x36, message, len, code);
    sha256(key, 0x5c, (const uint8_t *)code, 32, code);
}
