/* SHA-256 (FIPS 180-4) and HMAC (RFC 2104), small rather than fast. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>
#include <stdint.h>

/* The HMAC-SHA-256 of a message, with a key of 32 bytes. */
void hmac_sha256(const uint8_t key[32], const uint8_t *message, size_t len, uint8_t code[32]);

#endif
