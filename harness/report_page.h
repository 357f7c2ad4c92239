#ifndef SB_REPORT_PAGE_H
#define SB_REPORT_PAGE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A file of harness/report/, as it was when the library was built (scripts/embed.cmake). */
typedef struct sb_report_asset {
    const char *name;           /**< without its folder */
    const unsigned char *bytes; /**< [n_bytes], and a NUL */
    size_t n_bytes;
} sb_report_asset;

/** The page, its style, and its scripts in the order in which they run. */
extern const sb_report_asset sb_report_assets[];
extern const int sb_n_report_assets;

#ifdef __cplusplus
}
#endif
#endif
