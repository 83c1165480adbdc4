/* PROGRAM_faults [-i FILE] [-e K] PROGRAM ARGUMENT...: runs the program that is linked into it in child
 * processes, with its Nth call failing, for N = 1, 2, ... to the last; once with that call alone, and once
 * with all that follow failing too. Every child must end by itself, soon, with exit status 0 and nothing on
 * standard error, or with 1 and one line that begins with the program's name. -i: standard input. -e: only
 * every Kth N, where a process is slow. */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check/seam.h"

extern const char program_name[];
int __real_main(int argc, char **argv); /* the program's */
int __wrap_main(int argc, char **argv);

enum { LIMIT_S = 60, MESSAGE_BYTES = 8192 };

struct outcome {
    int status; /* of waitpid */
    char message[MESSAGE_BYTES];
};

static const char *input = "/dev/null";
static size_t *n_reached; /* calls of the last child: shared with it */

static void keep_count(void) {
    *n_reached = seam_calls();
    seam_end();
}

static void be_program(int message_fd, enum seam_mode mode, size_t n, int argc, char **argv) {
    int in = open(input, O_RDONLY), out = open("/dev/null", O_WRONLY);
    if (in < 0 || out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(message_fd, 2) < 0) _exit(99);
    close(in);
    close(out);
    close(message_fd);
    alarm(LIMIT_S); /* a hang ends by a signal */
    atexit(keep_count);
    seam_begin(mode, n);
    exit(__real_main(argc, argv));
}

static void run(struct outcome *o, enum seam_mode mode, size_t n, int argc, char **argv) {
    int fds[2];
    *n_reached = 0;
    if (pipe(fds) != 0) abort();
    pid_t child = fork();
    if (child < 0) abort();
    if (child == 0) {
        close(fds[0]);
        be_program(fds[1], mode, n, argc, argv);
    }
    close(fds[1]);
    size_t used = 0;
    for (ssize_t got; (got = read(fds[0], o->message + used, MESSAGE_BYTES - 1 - used)) > 0;)
        used += (size_t)got;
    o->message[used] = '\0';
    close(fds[0]);
    if (waitpid(child, &o->status, 0) != child) abort();
}

static bool is_clean(const struct outcome *o) {
    size_t n = strlen(program_name);
    const char *newline = strchr(o->message, '\n');
    if (!WIFEXITED(o->status)) return false;
    if (WEXITSTATUS(o->status) == 0) return o->message[0] == '\0';
    return WEXITSTATUS(o->status) == 1 && strncmp(o->message, program_name, n) == 0 &&
           strncmp(o->message + n, ": ", 2) == 0 && newline && newline[1] == '\0';
}

int __wrap_main(int argc, char **argv) {
    size_t every = 1;
    int option;
    while ((option = getopt(argc, argv, "+i:e:")) == 'i' || option == 'e') {
        if (option == 'i') input = optarg;
        if (option == 'e') every = strtoul(optarg, NULL, 10);
    }
    argc -= optind;
    argv += optind;
    if (option != -1 || argc < 1 || every < 1) return 2;
    n_reached = mmap(NULL, sizeof *n_reached, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (n_reached == MAP_FAILED) abort();
    static const enum seam_mode modes[] = {SEAM_ONCE, SEAM_FOR_EVER};
    static struct outcome o;
    optind = 0; /* the program reads its options anew */
    run(&o, SEAM_COUNT, 0, argc, argv);
    size_t n_calls = *n_reached, n_bad = 0;
    if (!WIFEXITED(o.status) || WEXITSTATUS(o.status) != 0 || n_calls == 0) {
        printf("untouched: status %#x, %zu calls: %s\n", (unsigned)o.status, n_calls, o.message);
        return 1;
    }
    for (size_t m = 0; m < 2; m++)
        for (size_t n = 1; n <= n_calls; n += every) {
            run(&o, modes[m], n, argc, argv);
            if (is_clean(&o) && *n_reached >= n) continue;
            printf("%s %zu of %zu: status %#x, %zu calls: %s\n", m ? "for ever from" : "once at", n, n_calls,
                   (unsigned)o.status, *n_reached, o.message);
            n_bad++;
        }
    printf("%zu calls, %zu bad runs\n", n_calls, n_bad);
    return n_bad > 0;
}
