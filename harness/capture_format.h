#ifndef SB_CAPTURE_FORMAT_H
#define SB_CAPTURE_FORMAT_H

/* What reader and writer of stem-capture files share. */
#define SB_CAPTURE_FORMAT "stem-capture"
#define SB_CAPTURE_ORDER "head,token,dim"
enum {
    SB_CAPTURE_VERSION = 1,
    SB_MAX_HEADS = 4096,
    SB_MAX_TOKENS = 1 << 27,
    SB_MAX_DIM = 4096,
    SB_MAX_LAYERS = 100000 /* indices have at most five digits */
};

#endif
