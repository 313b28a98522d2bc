/* SHA-256 (FIPS 180-4) and HMAC (RFC 2104), small rather than fast. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

/* The HMAC-SHA-256 of a message of fewer than 8 KiB, with a key of 32 bytes;
 * its bytes are in the order of the memory. */
void hmac_sha256(const uint8_t key[32], const uint8_t *message, size_t len, uint32_t code[8]);

/* The SHA-256 of a key in a block of its own, each byte changed by `pad`, and of a message; without
 * a key that of the message. Likewise. */
void sha256(const uint8_t key[32], uint8_t pad, const uint8_t *message, uint32_t len,
            uint32_t hash[8]);

#endif
