// Every table function on every value of the file `x.bin` (a count, then float32, big endian), a value a clock; `y.bin` gets the
// results of one value after another, functions in order of their codes.
module table_sweep #(
    localparam int Functions = int'(athena_pkg::LUT_COS) - int'(athena_pkg::LUT_EXP) + 1,
    localparam int Most = 1 << 20
) (
    input  logic clk_i,
    output logic done_o
);
  logic [31:0] count[1];
  logic [31:0] values[Most];
  logic [31:0] at;
  logic [Functions-1:0][31:0] y;
  int file, got;

  initial begin
    file = $fopen("x.bin", "rb");
    got = $fread(count, file);
    got += $fread(values, file, 0, count[0]);
    $fclose(file);
    file = $fopen("y.bin", "wb");
    at = '0;
    done_o = 1'b0;
  end

  for (genvar i = 0; i < Functions; i++) begin : g_function
    vec_table u_table (
        .en_i(1'b1),
        .lut_i(athena_pkg::LUT_EXP + 8'(i)),
        .x_i(values[at[$clog2(Most)-1:0]]),
        .y_o(y[i])
    );
  end

  always @(posedge clk_i) begin
    if (at < count[0]) $fwrite(file, "%u", y);
    else if (!done_o) begin
      $fclose(file);
      done_o <= 1'b1;
    end
    at <= at + 1;
  end
endmodule
