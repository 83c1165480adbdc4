#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

moe_status moe_fail(moe_error *err, moe_status status, const char *format, ...) {
    if (!err) return status;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n < 0) err->message[0] = '\0';
    /* names come from files: a message stays one line and cannot drive a terminal */
    for (char *c = err->message; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    return status;
}
