#include "harness/cli.h"

int main(int argc, char **argv)
{
    return sb_main(argc, argv);
}
