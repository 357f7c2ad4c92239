# Error against density at the longest length: cd RUN_DIR/plots && gnuplot -c error_density.gp error_density svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("error_density.gp")]."style.gp"
load ARG0[1:strlen(ARG0) - strlen("error_density.gp")]."published.gp"

stats data using (@shown ? column("density") : NaN) nooutput name "x"
stats data using (@shown ? column("rel_l2") : NaN) nooutput name "y"
axis = "x"; low = x_min / 1.1; high = x_max * 1.1; eval log_axis
axis = "y"; low = y_min / 1.2; high = y_max * 1.2; eval log_axis
set xlabel "density: kept / all causal blocks"
set ylabel "relative L2 error of the attention output"
x_of = "density"; y_of = "rel_l2"; n_extra = 0
load ARG0[1:strlen(ARG0) - strlen("error_density.gp")]."ends.gp"
set multiplot
plot for [i = 1:n_shown] data using "density":(of(slot[i], "rel_l2")) \
         with linespoints linetype slot[i] title named(slot[i]), \
     for [r = 1:n_runs] NaN with linespoints linetype dense + r title run[r]
load ARG0[1:strlen(ARG0) - strlen("error_density.gp")]."inset.gp"
unset multiplot
