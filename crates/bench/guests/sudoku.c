// Solves `n` sudokus by backtracking, always at the empty cell that has the fewest candidates. The
// puzzles are three well-known hard ones, with digits renamed and bands of rows turned at random.
#include "guest.h"

static const char *const PUZZLES[] = {
    "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..",
    "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9",
    "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3..",
};

typedef struct {
    // 0 for an empty cell, else 1 to 9.
    uint8_t cells[81];
    // A bit for each digit that a row, a column or a box has.
    uint16_t rows[9], columns[9], boxes[9];
    uint32_t guesses;
} Sudoku;

static uint32_t box_of(uint32_t row, uint32_t column) { return row / 3 * 3 + column / 3; }

static uint16_t candidates(const Sudoku *sudoku, uint32_t cell) {
    uint32_t row = cell / 9, column = cell % 9;
    uint16_t used =
        sudoku->rows[row] | sudoku->columns[column] | sudoku->boxes[box_of(row, column)];
    return ~used & 0x3fe;
}

static void set(Sudoku *sudoku, uint32_t cell, uint32_t digit) {
    uint32_t row = cell / 9, column = cell % 9;
    uint16_t bit = (uint16_t)(1u << (digit ? digit : sudoku->cells[cell]));
    sudoku->cells[cell] = (uint8_t)digit;
    sudoku->rows[row] ^= bit;
    sudoku->columns[column] ^= bit;
    sudoku->boxes[box_of(row, column)] ^= bit;
}

static uint32_t bits(uint16_t set) {
    uint32_t count = 0;
    for (; set; set &= set - 1) count++;
    return count;
}

static bool solve(Sudoku *sudoku) {
    uint32_t best = 81, fewest = 10;
    for (uint32_t cell = 0; cell < 81; cell++) {
        if (sudoku->cells[cell] != 0) continue;
        uint32_t count = bits(candidates(sudoku, cell));
        if (count == 0) return false;
        if (count < fewest) {
            fewest = count;
            best = cell;
            if (count == 1) break;
        }
    }
    if (best == 81) return true;
    uint16_t left = candidates(sudoku, best);
    for (uint32_t digit = 1; digit <= 9; digit++) {
        if (!(left >> digit & 1)) continue;
        sudoku->guesses++;
        set(sudoku, best, digit);
        if (solve(sudoku)) return true;
        set(sudoku, best, 0);
    }
    return false;
}

static void load(Sudoku *sudoku, const char *puzzle, Random *random) {
    uint8_t names[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    for (uint32_t i = 9; i > 1; i--) {
        uint32_t other = 1 + random_below(random, i);
        uint8_t name = names[i];
        names[i] = names[other];
        names[other] = name;
    }
    uint32_t first_band = random_below(random, 3);
    *sudoku = (Sudoku){.guesses = 0};
    for (uint32_t cell = 0; cell < 81; cell++) {
        char c = puzzle[(cell + first_band * 27) % 81];
        if (c != '.') set(sudoku, cell, names[c - '0']);
    }
}

int64_t run(int32_t n) {
    Random random = {9};
    uint64_t checksum = 0;
    for (int32_t i = 0; i < n; i++) {
        Sudoku sudoku;
        load(&sudoku, PUZZLES[(uint32_t)i % LENGTH(PUZZLES)], &random);
        checksum = mix(checksum, solve(&sudoku));
        checksum = mix(checksum, sudoku.guesses);
        checksum = mix_bytes(checksum, sudoku.cells, 81);
    }
    return (int64_t)checksum;
}
