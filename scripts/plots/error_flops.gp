# Error against budget at the longest length: cd RUN_DIR/plots && gnuplot -c error_flops.gp error_flops svg
name = ARG1
format = ARG2
load ARG0[1:strlen(ARG0) - strlen("error_flops.gp")]."style.gp"
load ARG0[1:strlen(ARG0) - strlen("error_flops.gp")]."published.gp"

stats data using (@shown ? column("budget") : NaN) nooutput name "x"
stats data using (@shown ? column("rel_l2") : NaN) nooutput name "y"
axis = "x"; low = x_min / 1.1; high = x_max * 1.1; eval log_axis
axis = "y"; low = y_min / 1.2; high = y_max * 1.2; eval log_axis
set xlabel "budget: FLOPs of select and attend / FLOPs of dense"
set ylabel "relative L2 error of the attention output"
x_of = "budget"; y_of = "rel_l2"; n_extra = 1
load ARG0[1:strlen(ARG0) - strlen("error_flops.gp")]."ends.gp"
set multiplot
plot data using "budget":(n_runs == 0 && column("pareto") == 1 ? column("rel_l2") : NaN) smooth unique \
         with lines linewidth 9 linecolor rgb "#dddddd" dashtype solid title (n_runs == 0 ? "Pareto front" : ""), \
     for [i = 1:n_shown] data using "budget":(of(slot[i], "rel_l2")) \
         with linespoints linetype slot[i] title named(slot[i]), \
     for [r = 1:n_runs] NaN with linespoints linetype dense + r title run[r]
load ARG0[1:strlen(ARG0) - strlen("error_flops.gp")]."inset.gp"
unset multiplot
