/* A tokenizer behind a pipe, for comparison with another one. Requests and answers are lines; text is
 * hexadecimal. e SPECIAL HEX          -> ids, comma-separated d SKIP_SPECIAL ID,ID   -> HEX; all at once and
 * id by id, "streams differ" if that is not the same An error is answered with "! " and its message. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/moe.h"
#include "text/regex.h"

static int hex_value(int c) {
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void answer_error(const moe_error *err) {
    printf("! %s\n", err->message);
}

/* Reads hexadecimal in place; returns the length. */
static size_t read_hex(char *hex) {
    size_t n = strspn(hex, "0123456789abcdef") / 2;
    for (size_t i = 0; i < n; i++) hex[i] = (char)(hex_value(hex[2 * i]) << 4 | hex_value(hex[2 * i + 1]));
    return n;
}

static void answer_matches(char *request, moe_error *err) {
    char *pattern = request + 2, *text = strchr(pattern, ' ') + 1;
    struct moe_regex *regex = NULL;
    struct moe_regex_scan scan = {0};
    size_t start, end, n = read_hex(text);
    pattern[read_hex(pattern)] = '\0';
    moe_status status = moe_regex_open(&regex, pattern, "pattern", err);
    if (status == MOE_OK) status = moe_regex_scan_begin(&scan, regex, text, n, err);
    for (bool found = status == MOE_OK; found;) {
        status = moe_regex_scan_next(&scan, &found, &start, &end, err);
        found = found && status == MOE_OK;
        if (found) printf("%zu,%zu,", start, end);
    }
    if (status == MOE_OK)
        putchar('\n');
    else
        answer_error(err);
    moe_regex_scan_free(&scan);
    moe_regex_close(regex);
}

static void answer_encode(const moe_tokenizer *tokenizer, char *request, moe_error *err) {
    char *hex = request + 4;
    size_t n = read_hex(hex), n_ids;
    uint32_t *ids;
    if (moe_tokenizer_encode(&ids, &n_ids, tokenizer, hex, n, request[2] == '1', err) != MOE_OK) {
        answer_error(err);
        return;
    }
    for (size_t i = 0; i < n_ids; i++) printf(i ? ",%u" : "%u", ids[i]);
    putchar('\n');
    free(ids);
}

static void answer_hex(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) printf("%02x", (unsigned char)text[i]);
    putchar('\n');
}

/* Whether the pieces are the text. */
static moe_status compare_stream(bool *same, const moe_tokenizer *tokenizer, const uint32_t *ids,
                                 size_t n_ids, bool skip, const char *text, size_t n, moe_error *err) {
    moe_decoder *decoder;
    size_t done = 0;
    *same = true;
    moe_status status = moe_decoder_open(&decoder, tokenizer, skip, err);
    for (size_t i = 0; status == MOE_OK && i <= n_ids; i++) {
        const char *piece;
        size_t n_piece;
        status = i < n_ids ? moe_decoder_next(&piece, &n_piece, decoder, ids[i], err)
                           : moe_decoder_finish(&piece, &n_piece, decoder, err);
        if (status != MOE_OK) break;
        *same = *same && n_piece <= n - done && memcmp(text + done, piece, n_piece) == 0;
        if (*same) done += n_piece;
    }
    *same = *same && done == n;
    moe_decoder_close(decoder);
    return status;
}

static void answer_decode(const moe_tokenizer *tokenizer, char *request, moe_error *err) {
    size_t n_ids = 0, n;
    uint32_t *ids = malloc((strlen(request) + 1) * sizeof *ids);
    char *text = NULL;
    bool same, skip = request[2] == '1';
    if (!ids) exit(1);
    for (char *p = request + 3; *p == ' ' || *p == ',';) {
        char *end;
        unsigned long id = strtoul(p + 1, &end, 10);
        if (end == p + 1) break;
        ids[n_ids++] = (uint32_t)id;
        p = end;
    }
    if (moe_tokenizer_decode(&text, &n, tokenizer, ids, n_ids, skip, err) != MOE_OK ||
        compare_stream(&same, tokenizer, ids, n_ids, skip, text, n, err) != MOE_OK)
        answer_error(err);
    else if (!same)
        puts("! streams differ");
    else
        answer_hex(text, n);
    free(text);
    free(ids);
}

int main(int argc, char **argv) {
    moe_error err;
    moe_tokenizer *tokenizer;
    char *line = NULL;
    size_t capacity = 0;
    if (argc != 2) {
        fputs("usage: text_driver DIRECTORY\n", stderr);
        return 2;
    }
    if (moe_tokenizer_open(&tokenizer, argv[1], &err) != MOE_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (ssize_t n; (n = getline(&line, &capacity, stdin)) > 0;) {
        if (line[n - 1] == '\n') line[n - 1] = '\0';
        if (line[0] == 'e')
            answer_encode(tokenizer, line, &err);
        else if (line[0] == 's')
            answer_matches(line, &err);
        else
            answer_decode(tokenizer, line, &err);
        fflush(stdout);
    }
    free(line);
    moe_tokenizer_close(tokenizer);
    return 0;
}
