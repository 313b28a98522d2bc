#include "sha256.h"

struct hash {
    uint32_t state[8];
    uint8_t block[64];
    uint32_t len;
};

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

static void compress(struct hash *hash) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 64; i++) {
        if (i < 16) {
            const uint8_t *b = hash->block + 4 * i;
            w[i] = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        } else {
            uint32_t a = w[i - 15], e = w[i - 2];
            w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
                   (rotate(e, 17) ^ rotate(e, 19) ^ e >> 10);
        }
    }
    for (int i = 0; i < 8; i++) s[i] = hash->state[i];
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t t1 = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                      ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) +
                      ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        for (int j = 7; j > 0; j--) s[j] = s[j - 1];
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) hash->state[i] += s[i];
}

static void start(struct hash *hash) {
    for (int i = 0; i < 8; i++) hash->state[i] = INITIAL[i];
    hash->len = 0;
}

static void add(struct hash *hash, uint8_t byte) {
    hash->block[hash->len++ % 64] = byte;
    if (hash->len % 64 == 0) compress(hash);
}

static void finish(struct hash *hash, uint8_t out[32]) {
    uint32_t bits = hash->len * 8;
    add(hash, 0x80);
    while (hash->len % 64 != 56) add(hash, 0);
    for (int i = 0; i < 4; i++) add(hash, 0);
    for (int i = 24; i >= 0; i -= 8) add(hash, (uint8_t)(bits >> i));
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(hash->state[i / 4] >> (24 - i % 4 * 8));
}

static void half(const uint8_t key[32], uint8_t pad, const uint8_t *message, size_t len,
                 uint8_t out[32]) {
    struct hash hash;
    start(&hash);
    for (int i = 0; i < 64; i++) add(&hash, (uint8_t)((i < 32 ? key[i] : 0) ^ pad));
    while (len--) add(&hash, *message++);
    finish(&hash, out);
}

void hmac_sha256(const uint8_t key[32], const uint8_t *message, size_t len, uint8_t code[32]) {
    half(key, 0x36, message, len, code);
    uint8_t inner[32];
    for (int i = 0; i < 32; i++) inner[i] = code[i];
    half(key, 0x5c, inner, 32, code);
}
