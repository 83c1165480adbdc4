#ifndef MOE_CLI_SIGNALS_H
#define MOE_CLI_SIGNALS_H
/* How the programs take signals: one SIGINT or SIGTERM asks for an orderly end, within two seconds and
 * whatever is being computed; a second one ends the program at once. */

/* To be called first. From then on SIGINT and SIGTERM end the program at once with 128 + their number, a
 * write to a closed pipe is an error instead of a signal, and a mapped file that shrank ends the program with
 * a message. Descriptors 0 to 2 are open afterwards: a closed one reads as empty and cannot be written. */
void signals_install(void);

/* What to do at an orderly end: prints what there is. It runs on a thread of its own when the work does not
 * come back by itself, but never while the lock below is held. */
typedef void finish_fn(void *context);

/* Makes the end orderly. The caller then holds the lock, and opens it only around what takes long and touches
 * nothing that `finish` reads. */
void signals_begin(finish_fn *finish, void *context);
void signals_unlock(void);
void signals_lock(void);

/* The signal that asked for the end, or 0. */
int interrupted(void);

#endif
