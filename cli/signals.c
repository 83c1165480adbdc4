/* An evaluation cannot be stopped half way, and one pass of a large model takes longer than a user who
 * pressed Ctrl-C should wait. So a second thread sleeps until a signal comes, gives the program GRACE_MS to
 * notice by itself, and otherwise prints what there is and ends the process under the running evaluation. A
 * timer stands behind both, should even the printing hang (a pipe that nobody reads). */

#include "cli/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/common.h"

enum { GRACE_MS = 500, LAST_RESORT_S = 1, STACK_BYTES = 512 << 10 };

static volatile sig_atomic_t signal_caught;
static volatile sig_atomic_t is_orderly;
static sem_t signal_came;
static pthread_mutex_t state_lock = PTHREAD_MUTEX_INITIALIZER;

static void set_handler(int number, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler}; /* no SA_RESTART: a blocked read must come back */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void on_interrupt(int number) {
    if (!is_orderly) _exit(128 + number);
    int saved = errno;
    signal_caught = number;
    set_handler(SIGINT, SIG_DFL);
    set_handler(SIGTERM, SIG_DFL);
    sem_post(&signal_came);
    alarm(LAST_RESORT_S);
    errno = saved;
}

static void on_alarm(int number) {
    (void)number;
    _exit(128 + signal_caught);
}

static void on_bus_error(int number) {
    (void)number;
    static const char message[] = ": a mapped file of the model was truncated or cannot be read\n";
    if (write(STDERR_FILENO, program_name, strlen(program_name)) < 0) _exit(STATUS_FAILED);
    if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(STATUS_FAILED);
    _exit(STATUS_FAILED);
}

void signals_install(void) {
    /* a closed descriptor would be taken by the next file opened, which then gets what was meant for it */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDONLY) < 0) exit(STATUS_FAILED);
    sem_init(&signal_came, 0, 0);
    set_handler(SIGPIPE, SIG_IGN);
    set_handler(SIGBUS, on_bus_error);
    set_handler(SIGALRM, on_alarm);
    set_handler(SIGINT, on_interrupt);
    set_handler(SIGTERM, on_interrupt);
}

struct finisher {
    finish_fn *finish;
    void *context;
};

static void *wait_and_finish(void *p) {
    struct finisher f = *(struct finisher *)p;
    free(p);
    while (sem_wait(&signal_came) != 0) continue;
    struct timespec grace = {.tv_nsec = GRACE_MS * 1000000L};
    while (nanosleep(&grace, &grace) != 0) continue;
    signals_lock();
    f.finish(f.context);
    _exit(128 + signal_caught);
}

void signals_begin(finish_fn *finish, void *context) {
    struct finisher *f = need(1, sizeof *f);
    *f = (struct finisher){finish, context};
    signals_lock();
    /* signals are for the thread that may be blocked in a read or write, not for this one */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);
    if (!failed) failed = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (!failed) failed = pthread_create(&thread, &attributes, wait_and_finish, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        free(f);
        die(STATUS_FAILED, "cannot start a thread: %s", strerror(failed));
    }
    pthread_detach(thread);
    is_orderly = 1;
}

void signals_unlock(void) {
    pthread_mutex_unlock(&state_lock);
}

void signals_lock(void) {
    pthread_mutex_lock(&state_lock);
}

int interrupted(void) {
    return signal_caught;
}
