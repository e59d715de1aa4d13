/*
 * quantity.c - amounts with units, exact in both directions.
 *
 * A text is a decimal number and a unit. Its value is their product, rounded up to an
 * integer: 1.1Gi is not a whole number of bytes, and a request must never yield less than it asks
 * for. The arithmetic uses 128 bits: NUMBER_DIGITS_MAX digits (below 2^67) times the largest unit
 * (2^50) fit.
 */
#include "quantity.h"

#include <stdio.h>
#include <string.h>

enum { NUMBER_DIGITS_MAX = 20, FRACTION_DIGITS_MAX = 18, TEXT_MAX = 48 };

struct unit {
    const char *name;
    int64_t value;
};

/* Sorted by size, largest first; the printer prefers the earlier of two equally short forms. */
static const struct unit milli_units[] = {{"", 1000}, {"m", 1}, {NULL, 0}};
static const struct unit bytes_units[] = {
    {"Pi", INT64_C(1) << 50},
    {"P", INT64_C(1000000000000000)},
    {"Ti", INT64_C(1) << 40},
    {"T", INT64_C(1000000000000)},
    {"Gi", INT64_C(1) << 30},
    {"G", INT64_C(1000000000)},
    {"Mi", INT64_C(1) << 20},
    {"M", INT64_C(1000000)},
    {"Ki", INT64_C(1) << 10},
    {"k", INT64_C(1000)},
    {"", 1},
    {NULL, 0},
};
static const struct unit ms_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

/* Append the leading digits of `text` to `*number`; return how many there are. */
static size_t digits_read(const char *text, unsigned __int128 *number)
{
    size_t n = strspn(text, "0123456789");
    for (size_t i = 0; i < n && i < NUMBER_DIGITS_MAX; i++)
        *number = *number * 10 + (unsigned)(text[i] - '0');
    return n;
}

static const struct unit *unit_find(const struct unit *units, const char *name)
{
    for (; units->name != NULL; units++)
        if (strcmp(units->name, name) == 0)
            return units;
    return NULL;
}

static int refuse(const char *text, const char *why, struct err *err)
{
    return err_set(err, ERR_INVALID, "\"%.40s%s\" is not a quantity: %s", text,
                   strlen(text) > 40 ? "..." : "", why);
}

static int quantity_parse(const char *text, const struct unit *units, const char *bare_name,
                          const char *form, int64_t *ret, struct err *err)
{
    unsigned __int128 number = 0, divisor = 1;
    size_t whole = digits_read(text, &number), fraction = 0;
    const char *rest = text + whole;
    if (whole > 0 && rest[0] == '.') {
        fraction = digits_read(rest + 1, &number);
        rest += 1 + fraction;
    }
    const struct unit *unit = unit_find(units, rest[0] == '\0' ? bare_name : rest);
    if (whole == 0 || (rest[-1] == '.') || unit == NULL)
        return refuse(text, form, err);
    if (whole + fraction > NUMBER_DIGITS_MAX || fraction > FRACTION_DIGITS_MAX)
        return refuse(text, "it has too many digits", err);
    for (size_t i = 0; i < fraction; i++)
        divisor *= 10;
    unsigned __int128 value = number * (unsigned __int128)unit->value;
    value = value / divisor + (value % divisor != 0);
    if (value > INT64_MAX)
        return refuse(text, "it is too large", err);
    *ret = (int64_t)value;
    return 0;
}

/* Print `value` in `unit`. Return false if it is below 1 unit or needs too many digits. */
static bool unit_print(uint64_t value, const struct unit *unit, char text[TEXT_MAX])
{
    uint64_t size = (uint64_t)unit->value, rest = value % size;
    if (value < size)
        return false;
    size_t n = (size_t)snprintf(text, TEXT_MAX, "%" PRIu64 "%s", value / size, rest > 0 ? "." : "");
    for (size_t digits = 0; rest > 0; digits++) {
        if (digits == FRACTION_DIGITS_MAX)
            return false;
        rest *= 10;
        text[n++] = (char)('0' + rest / size);
        rest %= size;
    }
    snprintf(text + n, TEXT_MAX - n, "%s", unit->name);
    return true;
}

/* Print the shortest form; among equally short ones a whole number, then the larger unit. */
static void quantity_print(struct buf *to, int64_t value, const struct unit *units,
                           const char *zero)
{
    char best[TEXT_MAX] = "", text[TEXT_MAX];
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    for (const struct unit *unit = units; unit->name != NULL; unit++) {
        if (!unit_print(magnitude, unit, text))
            continue;
        size_t size = strlen(text), best_size = strlen(best);
        bool is_whole = strchr(best, '.') != NULL && strchr(text, '.') == NULL;
        if (best_size == 0 || size < best_size || (size == best_size && is_whole))
            str_copy(best, sizeof best, text);
    }
    buf_printf(to, "%s%s", value < 0 ? "-" : "", magnitude == 0 ? zero : best);
}

int quantity_parse_milli(const char *text, int64_t *ret_milli, struct err *err)
{
    return quantity_parse(text, milli_units, "", "expected cpus as \"2\", \"0.5\" or \"1500m\"",
                          ret_milli, err);
}

int quantity_parse_bytes(const char *text, int64_t *ret_bytes, struct err *err)
{
    return quantity_parse(text, bytes_units, "",
                          "expected bytes as \"4096\", \"64Ki\", \"1.5Gi\" or \"2G\" (k M G T P, "
                          "Ki Mi Gi Ti Pi)",
                          ret_bytes, err);
}

int quantity_parse_ms(const char *text, int64_t *ret_ms, struct err *err)
{
    return quantity_parse(text, ms_units, "s",
                          "expected a time as \"250ms\", \"10s\", \"5m\", \"2h\" or \"1d\"", ret_ms,
                          err);
}

void quantity_print_milli(struct buf *to, int64_t milli)
{
    quantity_print(to, milli, milli_units, "0");
}

void quantity_print_bytes(struct buf *to, int64_t bytes)
{
    quantity_print(to, bytes, bytes_units, "0");
}

void quantity_print_ms(struct buf *to, int64_t ms)
{
    quantity_print(to, ms, ms_units, "0s");
}
