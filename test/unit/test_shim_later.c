/*
 * test_shim_later.c - test_borglet_versions.c for a borglet of release "later".
 */
#include "test_borglet_versions.c"
