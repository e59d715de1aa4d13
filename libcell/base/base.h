/*
 * base.h - assertions, attributes and small macros that every file uses.
 *
 * Assertions stay enabled in release builds: a replica whose state is inconsistent must stop before
 * it writes; the other replicas keep the cell running. Assert the program's own invariants; refuse
 * (err.h) invalid input.
 */
#ifndef CELL_BASE_H
#define CELL_BASE_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define UNUSED __attribute__((unused))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Run `fn(&variable)` when the variable leaves its scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (UINT32_C(1) << (n))
/* Each argument is evaluated once. They cannot be used in constant expressions. */
#define MIN(a, b) PICK(<, a, b, __COUNTER__)
#define MAX(a, b) PICK(>, a, b, __COUNTER__)
#define PICK(order, a, b, n) PICK_NAMED(order, a, b, n)
#define PICK_NAMED(order, a, b, n) \
    __extension__({ \
        __typeof__(1 ? (a) : (b)) pick_a##n = (a), pick_b##n = (b); \
        pick_a##n order pick_b##n ? pick_a##n : pick_b##n; \
    })
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ASSERT(c) ((c) ? (void)0 : panic(__FILE__, __LINE__, "assertion failed: %s", #c))
#define ASSERT_IMPLIES(a, b) ASSERT(!(a) || (b))
#define UNREACHABLE(why) panic(__FILE__, __LINE__, "unreachable: %s", (why))
#define PANIC(...) panic(__FILE__, __LINE__, __VA_ARGS__)

/* Print the source position and the message to stderr, then abort. */
_Noreturn void panic(const char *file, int line, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Allocate; these panic when memory is exhausted. Callers bound the sizes first (limits.h). */
void *xcalloc(size_t count, size_t size) MUST_USE;
void *xrealloc(void *ptr, size_t count, size_t size) MUST_USE;
char *xstrdup(const char *s) MUST_USE;

/* Copy a string into a fixed array. The copy is truncated to fit and always terminated. */
void str_copy(char *to, size_t to_size, const char *from);

/* For CLEANUP: free() the memory that a pointer variable points to, and set it to NULL. */
void free_ptr(void *ptr_variable);

#endif
