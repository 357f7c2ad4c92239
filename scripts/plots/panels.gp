# A grid of panels of curves, with intervals: rows and columns as in the data, titles from its column `panel`,
# and one key above them all. Set `name`, `format`, `here`, `across_is` (log, tokens, share, whole), `up_is`
# (log, ratio), `across_title` and `up_title` first; a line at `level` where it is set; no intervals where `without_bars` is set.
n_down = 0
n_across = 0
n_slots = 0
longest = 0
set datafile columnheaders separator comma
stats "data/".name.".csv" using (s = int(column("slot")), n_slots = s > n_slots ? s : n_slots, \
    r = int(column("row")), n_down = r > n_down ? r : n_down, \
    c = int(column("column")), n_across = c > n_across ? c : n_across, \
    n = strlen(strcol("curve")), longest = n > longest ? n : longest, 1) nooutput
# in pixels: a panel, and the key's lines
key_columns = int(860 / (54 + 7.6 * longest))
key_columns = key_columns > 4 ? 4 : key_columns < 1 ? 1 : key_columns
key_lines = (n_slots + key_columns - 1) / key_columns
deep = n_across == 1 ? 300 : n_down < 3 ? 230 : 180
between = 60
above = 22.0 * key_lines + 34
tall = above + n_down * (deep + between) - between + 72
load here."style.gp"
panel = ""
load here."published.gp"

array title_of[n_down * n_across]
array used[n_down * n_across]
do for [i = 1:n_down * n_across] { used[i] = 0 }
stats data using (i = int((column("row") - 1) * n_across + column("column")), used[i] = 1, title_of[i] = strcol("panel"), 1) nooutput

stats data using "x" nooutput name "x"
stats data using "y" nooutput name "y"
stats data using (column("lo") == column("lo") ? column("lo") : column("y")) nooutput name "bottom"
stats data using (column("hi") == column("hi") ? column("hi") : column("y")) nooutput name "top"
# an interval may be long: it does not press the curves flat
bottom_min = bottom_min < y_min / 5 ? y_min / 5 : bottom_min
top_max = top_max > y_max * 5 ? y_max * 5 : top_max

lined = exists("level")
barred = !exists("without_bars")
# curves with the same x stand side by side
side(i) = i - (n_shown + 1) / 2.0
beside(x, i) = across_is eq "share" ? x + 0.008 * side(i) : across_is eq "tokens" ? x * 1.02**side(i) : x
left_edge = 92.0
aside = 54.0
wide_one = (width - left_edge - 24 - aside * (n_across - 1)) / n_across
array drawn[most]
array spread[most]
do for [i = 1:most] { drawn[i] = 1; spread[i] = 1 }
unset key
set multiplot
# the key
do for [i = 1:n_shown] {
    k = slot[i]
    across = (i - 1) % key_columns
    down = (i - 1) / key_columns
    x_at = (left_edge + across * (width - left_edge) / key_columns) / width
    y_at = 1 - (16.0 + 22 * down) / height
    set arrow 400 + i from screen x_at, screen y_at to screen x_at + 30.0 / width, screen y_at nohead \
        linecolor rgb colour[k] linewidth 2 dashtype solid
    if (k > n_colours) { set arrow 400 + i dashtype (8, 4) }
    set label 400 + i "" at screen x_at + 15.0 / width, screen y_at point pointtype shape[k] pointsize 0.9 \
        linecolor rgb colour[k]
    set label 440 + i label[k] at screen x_at + 38.0 / width, screen y_at left noenhanced textcolor rgb colour[k] font small
}
do for [r = 1:n_down] {
    do for [c = 1:n_across] {
        cell = (r - 1) * n_across + c
        if (used[cell]) {
            panel = title_of[cell]
            of_cell(i, y) = column("slot") == slot[i] && column("row") == r && column("column") == c ? column(y) : NaN
            # curves that have points here, and those that have intervals; stats keeps to ranges
            unset logscale
            set xrange [*:*]
            set yrange [*:*]
            n_drawn = 0
            n_barred = 0
            do for [i = 1:n_shown] {
                n_points = 0
                n_bars = 0
                stats data using (n_points = n_points + (of_cell(i, "y") == of_cell(i, "y")), \
                    n_bars = n_bars + (of_cell(i, "lo") == of_cell(i, "lo")), 0) nooutput
                if (n_points > 0) { n_drawn = n_drawn + 1; drawn[n_drawn] = i }
                if (n_bars > 0 && barred) { n_barred = n_barred + 1; spread[n_barred] = i }
            }
            load here."published.gp"
            set lmargin at screen (left_edge + (c - 1) * (wide_one + aside)) / width
            set rmargin at screen (left_edge + (c - 1) * (wide_one + aside) + wide_one) / width
            set tmargin at screen 1 - (above + (r - 1) * (deep + between)) / height
            set bmargin at screen 1 - (above + (r - 1) * (deep + between) + deep) / height
            set title panel noenhanced offset 0, -0.5 font small
            axis = "x"
            if (across_is eq "log") { low = x_min / 1.15; high = x_max * 1.15; eval log_axis }
            if (across_is eq "tokens") {
                set logscale x 2
                set xrange [x_min / 1.2:x_max * 1.2]
                set xtics ()
                do for [e = 6:20] { eval sprintf('set xtics add ("%s" %d)', e < 10 ? sprintf("%d", 2**e) : sprintf("%dK", 2**(e - 10)), 2**e) }
            }
            if (across_is eq "share") { set xrange [0:1]; set xtics 0.25 }
            if (across_is eq "whole") {
                stats data using (column("column") == c ? column("x") : NaN) nooutput name "own"
                set xrange [own_min - 0.7:own_max + 0.7]
                set xtics own_max > 11 ? 5 : 1
            }
            axis = "y"
            low = (lined && level < bottom_min ? level : bottom_min) / 1.15
            high = (lined && level > top_max ? level : top_max) * 1.15
            if (up_is eq "log") { eval log_axis } else { eval ratio_axis }
            set xtics nomirror textcolor rgb ink font small
            set ytics nomirror textcolor rgb ink font small
            set ylabel (c == 1 ? up_title : "")
            set xlabel offset 0, 0.6
            set xlabel (r == n_down ? across_title : "")
            curves = "for [k = 1:n_drawn] data using (beside(column('x'), drawn[k])):(of_cell(drawn[k], 'y')) smooth unique \
                with linespoints linetype slot[drawn[k]] linewidth 1.6 pointsize 0.7 notitle"
            bars = "for [k = 1:n_barred] data using (beside(column('x'), spread[k])):(of_cell(spread[k], 'y')):'lo':'hi' \
                with yerrorbars linecolor rgb colour[slot[spread[k]]] linewidth 1.2 dashtype solid pointtype 0 notitle"
            if (lined) { set arrow 1 from graph 0, first level to graph 1, first level nohead back linecolor rgb "#000000" linewidth 1.2 }
            eval "plot ".(n_barred > 0 ? bars.", " : "").curves
            unset label
            unset arrow
        }
    }
}
unset multiplot
