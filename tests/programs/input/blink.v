// Four LEDs that breathe one after the other, for an iCE40 LP384: the smallest chip, and so the
// smallest chip data. Counters and comparators only; the other design has the rest.

module blink (
    input  wire       clk,
    output wire [3:0] led
);
    reg [23:0] count = 24'd0;
    always @(posedge clk) count <= count + 24'd1;

    genvar n;
    generate
        for (n = 0; n < 4; n = n + 1) begin : channel
            // Each is a quarter of a period behind the one before; the top bit turns the ramp round.
            wire [8:0] phase = count[23:15] + 9'd128 * n[8:0];
            wire [7:0] level = phase[7:0] ^ {8{phase[8]}};
            assign led[n] = count[7:0] < level;
        end
    endgenerate
endmodule
