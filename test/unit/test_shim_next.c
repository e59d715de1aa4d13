/*
 * test_shim_next.c - test_borglet_versions.c for a borglet of release "next".
 */
#include "test_borglet_versions.c"
