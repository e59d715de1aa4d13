/*
 * wire_access.c - the table of methods, by number.
 */
#include "wire_access.h"

enum access wire_access(enum wire_method method)
{
    switch (method) {
#define X(name, roles, access, deed) \
    case WIRE_##name: \
        return ACCESS_##access;
        WIRE_ACCESS(X)
#undef X
    }
    UNREACHABLE("method");
}

const char *wire_deed(enum wire_method method)
{
    switch (method) {
#define X(name, roles, access, deed) \
    case WIRE_##name: \
        return deed;
        WIRE_ACCESS(X)
#undef X
    }
    UNREACHABLE("method");
}
