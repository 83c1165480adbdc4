/* Messages: one line, whatever the texts in it. */
#include "base/status.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/arena.h"
#include "base/utf8.h"
#include "tests/loader/files.h"

Test(status, returns_the_status_with_or_without_a_place) {
    moe_error err;
    cr_expect(MOE_FAIL(NULL, MOE_E_NUMERIC, "x") == MOE_E_NUMERIC);
    cr_expect(MOE_FAIL(&err, MOE_E_IO, "%s: %d", "file", 7) == MOE_E_IO &&
              strcmp(err.message, "file: 7") == 0);
    cr_expect(MOE_FAIL(&err, MOE_E_IO, "again: %s", err.message) == MOE_E_IO);
    cr_expect(strcmp(err.message, "again: file: 7") == 0);
}

Test(status, makes_controls_and_bad_bytes_visible) {
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"a\nb\r\x1b[31m\x7f\t", "a?b??[31m??"},
        {"\xc2\x9b"
         "31m \xc2\xa0",
         "??31m \xc2\xa0"}, /* U+009B is ESC [ to a terminal */
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xe9t\xe9", "?t?"},
        {"\xe2\x82", "??"},
        {"\xed\xa0\x80", "???"},
    };
    moe_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        MOE_FAIL(&err, MOE_E_IO, "%s", cases[i].in);
        cr_expect(strcmp(err.message, cases[i].out) == 0, "%zu: %s", i, err.message);
    }
}

/* A long path may not hide the fault: the middle is left out, between characters. */
Test(status, keeps_both_ends_of_a_long_message) {
    for (size_t n = 1; n < 12000; n += n < 700 ? 1 : 997)
        for (int wide = 0; wide < 2; wide++) {
            char *path = calloc(2 * n + 1, 1);
            for (size_t i = 0; i < n; i++)
                memcpy(path + (wide ? 2 * i : i), wide ? "\xc3\xa9" : "p", wide ? 2 : 1);
            moe_error err;
            MOE_FAIL(&err, MOE_E_IO, "f:%s: key: expected", path);
            size_t length = strlen(err.message);
            cr_expect(length < MOE_ERROR_SIZE && strncmp(err.message, "f:", 2) == 0, "%zu: %s", n,
                      err.message);
            if (n * (wide ? 2 : 1) < 8000) { /* else its end is lost */
                cr_expect(strcmp(err.message + length - 15, ": key: expected") == 0, "%s", err.message);
                cr_expect(!strchr(err.message, '?'), "cut inside a character: %s", err.message);
            }
            cr_expect(contains(err.message, "...") == (n * (wide ? 2 : 1) + 17 >= MOE_ERROR_SIZE));
            free(path);
        }
    moe_error err;
    char stray[1000];
    memset(stray, 0x80, sizeof stray - 1);
    stray[sizeof stray - 1] = '\0';
    MOE_FAIL(&err, MOE_E_IO, "%s", stray);
    cr_expect(strcmp(err.message, "...") == 0, "%s", err.message);
}

Test(status, survives_what_cannot_be_formatted) {
    moe_error err;
    static const wchar_t none[] = {0x7fffffff, 0}; /* no character: the conversion fails */
    cr_expect(MOE_FAIL(&err, MOE_E_IO, "file: %ls", none) == MOE_E_IO);
    cr_expect(strcmp(err.message, "file: %ls") == 0, "%s", err.message);
}

Test(utf8, decodes_every_code_point_and_nothing_else) {
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char s[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        if (n == 1) s[0] = (char)c;
        for (size_t i = n; n > 1 && i-- > 1;) s[i] = (char)(0x80 | (c >> (6 * (n - 1 - i)) & 0x3f));
        if (n > 1) s[0] = (char)(unsigned char)((0xf00u >> n & 0xf0) | c >> (6 * (n - 1)));
        uint32_t got = 0;
        size_t length = moe_utf8_decode(&got, s, n);
        if (c >= 0xd800 && c < 0xe000)
            cr_assert(length == 0, "U+%04X", c);
        else
            cr_assert(length == n && got == c, "U+%04X: %zu U+%04X", c, length, got);
        for (size_t cut = 0; cut < n; cut++) cr_assert(moe_utf8_decode(NULL, s, cut) == 0);
    }
}

Test(arena, measures_then_hands_out_zeroed_aligned_blocks) {
    struct moe_arena a = {0};
    moe_error err;
    for (int run = 0; run < 2; run++) {
        unsigned char *p = moe_arena_take(&a, 3, 7), *q = moe_arena_take(&a, 1, 65),
                      *r = moe_arena_take(&a, 0, 9);
        cr_assert(a.used == 192 && !a.overflow);
        if (run == 0) {
            cr_assert(!p && !q && !r);
            cr_assert(moe_arena_back(&a, &err) == MOE_OK);
            continue;
        }
        cr_expect((uintptr_t)p % MOE_ALIGN == 0 && q == p + 64 && r == q + 128);
        for (size_t i = 0; i < 192; i++) cr_expect(p[i] == 0);
    }
    moe_arena_free(&a);
    cr_expect(a.base == NULL && a.used == 0);
}

Test(arena, refuses_what_overflows_or_does_not_fit) {
    static const size_t takes[][2] = {{SIZE_MAX, 2}, {SIZE_MAX, 1}, {SIZE_MAX - 63, 1}};
    moe_error err;
    for (size_t i = 0; i < 3; i++) {
        struct moe_arena a = {0};
        moe_arena_take(&a, 64, 1);
        cr_expect(moe_arena_take(&a, takes[i][0], takes[i][1]) == NULL && a.overflow);
        cr_expect(moe_arena_take(&a, 1, 1) == NULL);
        cr_expect(moe_arena_back(&a, &err) == MOE_E_MEMORY && contains(err.message, "overflows"));
    }
    struct moe_arena a = {0};
    moe_arena_take(&a, (size_t)1 << 62, 1);
    cr_expect(moe_arena_back(&a, &err) == MOE_E_MEMORY && contains(err.message, "4611686018427387904 bytes"));
    struct moe_arena empty = {0};
    cr_expect(moe_arena_back(&empty, &err) == MOE_OK);
    moe_arena_free(&empty);
}
