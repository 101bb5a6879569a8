// Runs a guest that was compiled for the machine at hand: prints what `run` answers. `build.sh
// --native` compares that with guests.txt.
#include <stdio.h>
#include <stdlib.h>

#include "guest.h"

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: %s PARAMETER\n", arguments[0]);
        return 2;
    }
    printf("%lld\n", (long long)run((int32_t)strtol(arguments[1], NULL, 10)));
    return 0;
}
