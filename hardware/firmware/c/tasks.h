/* What this node does when it is told (docs/link-protocol.md, "Commands"): it sets its level,
 * to 0 without a value, and takes an image into its memory. */
#ifndef TASKS_H
#define TASKS_H

#include <stddef.h>
#include <stdint.h>

/* The codes of what it can do: others are refused. */
enum { TASK_LEVEL = 1, TASK_IMAGE = 2 };
/* The largest image, and the largest part of it that fits into a frame. */
enum { TASK_MAX_IMAGE = 8192, TASK_MAX_BLOCK = 128 };
/* The longest answer. */
enum { TASK_MAX_ANSWER = 38 };

/* The level that was set last. */
extern int32_t task_level;

/* Carries out what is in a CMD and writes the payload of its RSP; its length. */
size_t task_run(const uint8_t *payload, size_t len, uint8_t *answer);

#endif
