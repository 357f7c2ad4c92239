# Published values on the axes of the plots that follow, until `unset label; unset arrow`. Load it after style.gp
# and before ranges are set: axes made by log_axis stretch to them. Reads data/NAME.published.csv, of a figure
# of several panels the rows of `panel`.
if (!exists("panel")) { panel = "" }
published = "data/".name.".published.csv"
array mark_kind[n_marks + 1]
array mark_label[n_marks + 1]
array mark_x[n_marks + 1]
array mark_y[n_marks + 1]
n_here = 0
mark_x_min = mark_x_max = mark_y_min = mark_y_max = NaN
lesser(a, b) = a < b || b != b ? a : b
greater(a, b) = a > b || b != b ? a : b
if (n_marks > 0) {
    stats published using (strcol("kind")[1:5] eq "inset" || strcol("panel") ne panel ? 0 \
        : (n_here = n_here + 1, mark_kind[n_here] = strcol("kind"), mark_label[n_here] = strcol("label"), \
           mark_x[n_here] = column("x"), mark_y[n_here] = column("y"), \
           mark_x_min = lesser(mark_x[n_here], mark_x_min), mark_x_max = greater(mark_x[n_here], mark_x_max), \
           mark_y_min = lesser(mark_y[n_here], mark_y_min), mark_y_max = greater(mark_y[n_here], mark_y_max), 1)) nooutput
}
mark_grey = "#555555"
do for [m = 1:n_here] {
    if (mark_kind[m] eq "vline") {
        set arrow 200 + m from first mark_x[m], graph 0 to first mark_x[m], graph 1 nohead back \
            linecolor rgb mark_grey linewidth 1 dashtype (2, 3)
        set label 200 + m mark_label[m] at first mark_x[m], graph 0.98 right rotate by 90 offset -0.7, 0 noenhanced \
            textcolor rgb mark_grey font small
    }
    if (mark_kind[m] eq "hline") {
        set arrow 200 + m from graph 0, first mark_y[m] to graph 1, first mark_y[m] nohead back \
            linecolor rgb mark_grey linewidth 1 dashtype (2, 3)
        set label 200 + m mark_label[m] at graph 0.99, first mark_y[m] right offset 0, 0.6 noenhanced \
            textcolor rgb mark_grey font small
    }
    if (mark_kind[m] eq "point") {
        set label 200 + m mark_label[m] at first mark_x[m], first mark_y[m] left noenhanced \
            point pointtype 3 pointsize 1.4 linecolor rgb mark_grey linewidth 1.5 offset 1.2, 0 \
            textcolor rgb mark_grey font small
    }
}
# The label of a star beyond the middle of the x axis goes to its left.
mark_sides = "\
    do for [m = 1:n_here] { \
        if (mark_kind[m] eq 'point' && mark_x[m] > sqrt(low * high)) { set label 200 + m right offset -1.2, 0 } \
    }"
log_axis = "\
    mark_min = axis eq 'x' ? mark_x_min : mark_y_min; \
    mark_max = axis eq 'x' ? mark_x_max : mark_y_max; \
    low = lesser(low, mark_min / 1.2); \
    high = greater(high, mark_max * 1.2); ".log_axis."; \
    if (axis eq 'x') { eval mark_sides }"

# An axis of ratios around 1 from `low` to `high`: linear where log_axis would leave them little room.
ratio_axis = "\
    if (high / low >= 3) { eval log_axis } else { \
        low = lesser(low, axis eq 'x' ? mark_x_min : mark_y_min); \
        high = greater(high, axis eq 'x' ? mark_x_max : mark_y_max); \
        eval sprintf('unset logscale %s; set %srange [%.9g:%.9g]; set %stics auto; unset m%stics', axis, axis, low, high, axis, axis) \
    }"
