#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

/* A path alone may have 4096 bytes: the whole is formatted, and what is left out is the middle, so that both
 * the file and the fault can be read. */
enum { FORMATTED_SIZE = 8192, HEAD = 200, TAIL = MOE_ERROR_SIZE - 1 - HEAD - 3 };

static bool continues(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Names come from files: a message stays one line of UTF-8 and cannot drive a terminal (C0, DEL, C1). */
static void make_visible(char *s) {
    size_t n = strlen(s), i = 0;
    while (i < n) {
        uint32_t c = 0;
        size_t length = moe_utf8_decode(&c, s + i, n - i);
        if (length == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0)) {
            length = length ? length : 1;
            memset(s + i, '?', length);
        }
        i += length;
    }
}

moe_status moe_fail(moe_error *err, moe_status status, const char *format, ...) {
    if (!err) return status;
    char text[FORMATTED_SIZE]; /* not err->message itself, which may be among the arguments */
    va_list args;
    va_start(args, format);
    int written = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (written < 0) snprintf(text, sizeof text, "%s", format);
    size_t n = strlen(text), head = HEAD;
    if (n < MOE_ERROR_SIZE) {
        memcpy(err->message, text, n + 1);
    } else {
        const char *tail = text + n - TAIL;
        while (head > 0 && continues(text[head])) head--;
        while (continues(*tail)) tail++;
        snprintf(err->message, sizeof err->message, "%.*s...%s", (int)head, text, tail);
    }
    make_visible(err->message);
    return status;
}
