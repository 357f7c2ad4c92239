# Error by layer at nearly equal density, and its ratio to the first curve's:
# cd RUN_DIR/plots && gnuplot -c error_layer.gp error_layer svg
name = ARG1
format = ARG2
tall = 700
load ARG0[1:strlen(ARG0) - strlen("error_layer.gp")]."style.gp"
load ARG0[1:strlen(ARG0) - strlen("error_layer.gp")]."published.gp"

stats data using "layer" nooutput name "x"
stats data using "rel_l2" nooutput name "y"
# as wide as the intervals that are drawn
barred = n_shown <= 5
end(y) = barred && column(y) == column(y) ? column(y) : column("ratio")
stats data using (end("lo")) nooutput name "lo"
stats data using (end("hi")) nooutput name "hi"
set lmargin at screen 98.0 / width
set rmargin at screen 0.645
set xrange [x_min - 0.5:x_max + 0.5]
# a tic at each layer where there is room
array layer[int(x_records)]
n_layers = 0
stats data using (column("slot") == slot[1] ? (n_layers = n_layers + 1, layer[n_layers] = column("layer"), 1) : 0) nooutput
set xtics ()
do for [i = 1:n_layers:1 + n_layers / 21] { set xtics add (sprintf("%d", layer[i]) layer[i]) }
set key at screen 0.66, screen 1 - 16.0 / height top left Left reverse title "method (density)" left
set multiplot
set bmargin at screen below(330)
axis = "y"; low = y_min / 1.2; high = y_max * 1.2; eval log_axis
set ylabel "relative L2 error of the output"
plot for [i = 1:n_shown] data using "layer":(of(slot[i], "rel_l2")) \
         with linespoints linetype slot[i] linewidth 1.6 title label[slot[i]]
unset label
unset arrow
unset key
set tmargin at screen below(292)
set bmargin at screen below(72)
axis = "y"; low = (lo_min < 1 ? lo_min : 1) / 1.03; high = (hi_max > 1 ? hi_max : 1) * 1.03; eval ratio_axis
set xlabel "layer"
set ylabel "error / the first's"
shift(i) = barred ? 0.16 * (i - (n_shown + 1) / 2.0) : 0
plot 1 with lines linecolor rgb colour[slot[1]] linewidth 1.5 notitle, \
     for [i = 2:n_shown] data using (column("layer") + shift(i)):(barred ? of(slot[i], "ratio") : NaN):"lo":"hi" \
         with yerrorbars linecolor rgb colour[slot[i]] linewidth 1.5 pointtype 0 notitle, \
     for [i = 2:n_shown] data using (column("layer") + shift(i)):(of(slot[i], "ratio")) \
         with linespoints linetype slot[i] linewidth 1.2 notitle
load ARG0[1:strlen(ARG0) - strlen("error_layer.gp")]."inset.gp"
unset multiplot
