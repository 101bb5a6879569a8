// All ways to put `n` (at most 16) queens on a board of `n` × `n` so that none attacks another, by
// backtracking over the rows. Answers how many there are, mixed with where the queens stand.
#include "guest.h"

typedef struct {
    int32_t size;
    // The column of each row's queen.
    int32_t columns[16];
    uint64_t solutions;
    uint64_t checksum;
} Board;

// Real programs have these in other modules.
__attribute__((noinline)) static bool attacks(int32_t row, int32_t column, int32_t other_row,
                                              int32_t other_column) {
    int32_t rows = row - other_row;
    int32_t columns = column > other_column ? column - other_column : other_column - column;
    return columns == 0 || columns == rows;
}

__attribute__((noinline)) static void found(Board *board) {
    board->solutions++;
    for (int32_t row = 0; row < board->size; row++) {
        board->checksum = mix(board->checksum, (uint64_t)board->columns[row]);
    }
}

static bool is_free(const Board *board, int32_t row, int32_t column) {
    for (int32_t other = 0; other < row; other++) {
        if (attacks(row, column, other, board->columns[other])) return false;
    }
    return true;
}

static void place(Board *board, int32_t row) {
    if (row == board->size) {
        found(board);
        return;
    }
    for (int32_t column = 0; column < board->size; column++) {
        if (is_free(board, row, column)) {
            board->columns[row] = column;
            place(board, row + 1);
        }
    }
}

int64_t run(int32_t n) {
    Board board = {.size = n};
    place(&board, 0);
    return (int64_t)mix(board.checksum, board.solutions);
}
