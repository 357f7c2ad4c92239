#ifndef SB_CONFIG_MEASURE_H
#define SB_CONFIG_MEASURE_H

#include "harness/config.h"
#include "harness/config_axis.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Read the mapping `measure:` over its defaults; a NULL node leaves those. */
sb_status sb_measure_read(const sb_scope *scope, const sb_node *node, sb_measure_options *measure,
                          sb_err *err);

#ifdef __cplusplus
}
#endif
#endif
