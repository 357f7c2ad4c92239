# A grid of panels with a line for each curve, in it a marker with its interval for each density. Set `name`,
# `format`, `here`, `across_title` and `level`, where the baseline is, first; `across_is` is ratio or plain. The column
# `note` is printed at the right of a marker.
n_down = 0
n_across = 0
n_places = 0
n_levels = 0
longest = 0
noted = 0
array curve[64]
baseline = ""
set datafile columnheaders separator comma
stats "data/".name.".csv" using (s = int(column("slot")), n_levels = s > n_levels ? s : n_levels, \
    r = int(column("row")), n_down = r > n_down ? r : n_down, \
    c = int(column("column")), n_across = c > n_across ? c : n_across, \
    p = int(column("place")), n_places = p > n_places ? p : n_places, curve[p] = strcol("curve"), \
    n = strlen(curve[p]), longest = n > longest ? n : longest, noted = noted || strcol("note") ne "", \
    baseline = baseline eq "" || baseline eq strcol("baseline") ? strcol("baseline") : "its baseline", 1) nooutput
pitch_one = noted ? 13 : 8
deep = n_places * (n_levels * pitch_one + 8)
deep = deep < 90 ? 90 : deep
lines = n_across > 2 ? (noted ? 3 : 2) : 1
between = 44 + 18 * lines
above = 44.0 + 18 * lines
tall = above + n_down * (deep + between) - between + 72
load here."style.gp"
load here."published.gp"

array title_of[n_down * n_across]
array used[n_down * n_across]
do for [i = 1:n_down * n_across] { used[i] = 0 }
stats data using (i = int((column("row") - 1) * n_across + column("column")), used[i] = 1, title_of[i] = strcol("panel"), 1) nooutput
# in narrow panels a line for each part of the title
folded(s) = strstrt(s, "; ") == 0 ? s : s[1:strstrt(s, "; ") - 1]."\n".folded(s[strstrt(s, "; ") + 2:*])
stats data using "x" nooutput name "x"
stats data using (column("lo") == column("lo") ? column("lo") : column("x")) nooutput name "lo"
stats data using (column("hi") == column("hi") ? column("hi") : column("x")) nooutput name "hi"
low_of_all = lo_min < level ? lo_min : level
high_of_all = hi_max > level ? hi_max : level
room = high_of_all - low_of_all

# light is sparse
shades = "#9ecae1 #6baed6 #4292c6 #2171b5 #08519c #08306b"
shade(i) = word(shades, n_shown > 1 ? 1 + (i - 1) * 5 / (n_shown - 1) : 4)
line_of(i) = column("place") + (n_shown > 1 ? (i - (n_shown + 1) / 2.0) * 0.78 / n_shown : 0)
of_cell(i, x) = column("slot") == slot[i] && column("row") == r && column("column") == c ? column(x) : NaN

left_edge = 20 + 7.0 * longest
left_edge = left_edge > 360 ? 360.0 : left_edge < 90 ? 90.0 : left_edge
aside = 22.0
wide_one = (width - left_edge - 24 - aside * (n_across - 1)) / n_across
# tics about 45 pixels apart; room for notes right of all intervals
raw = room / (wide_one / 45)
decade = 10.0**floor(log10(raw))
step = (raw > 5 * decade ? 10 : raw > 2 * decade ? 5 : raw > decade ? 2 : 1) * decade
extra = room * (noted ? 58.0 / (wide_one - 58) : 0.04)
array drawn[most]
array spread[most]
do for [i = 1:most] { drawn[i] = 1; spread[i] = 1 }
unset key
set multiplot
set label 400 "density" at screen left_edge / width, screen 1 - 16.0 / height left textcolor rgb ink font small
do for [i = 1:n_shown] {
    at = left_edge + 66 + (i - 1) * 116
    set label 400 + i "" at screen at / width, screen 1 - 16.0 / height point pointtype shape[i] pointsize 1 linecolor rgb shade(i)
    set label 440 + i label[slot[i]] at screen (at + 12) / width, screen 1 - 16.0 / height left noenhanced textcolor rgb ink font small
}
set label 480 across_title.baseline at screen (left_edge + (width - 24 - left_edge) / 2.0) / width, screen below(16) center \
    noenhanced textcolor rgb ink
unset grid
set grid xtics linetype 1 linecolor rgb "#e2e2e2" linewidth 0.8
do for [r = 1:n_down] {
    do for [c = 1:n_across] {
        cell = (r - 1) * n_across + c
        if (used[cell]) {
            # densities that have points here, and those that have intervals; stats keeps to ranges
            unset logscale
            set xrange [*:*]
            set yrange [*:*]
            n_drawn = 0
            n_barred = 0
            do for [i = 1:n_shown] {
                n_points = 0
                n_bars = 0
                stats data using (n_points = n_points + (of_cell(i, "x") == of_cell(i, "x")), \
                    n_bars = n_bars + (of_cell(i, "lo") == of_cell(i, "lo")), 0) nooutput
                if (n_points > 0) { n_drawn = n_drawn + 1; drawn[n_drawn] = i }
                if (n_bars > 0) { n_barred = n_barred + 1; spread[n_barred] = i }
            }
            set lmargin at screen (left_edge + (c - 1) * (wide_one + aside)) / width
            set rmargin at screen (left_edge + (c - 1) * (wide_one + aside) + wide_one) / width
            set tmargin at screen 1 - (above + (r - 1) * (deep + between)) / height
            set bmargin at screen 1 - (above + (r - 1) * (deep + between) + deep) / height
            set title (n_across > 2 ? folded(title_of[cell]) : title_of[cell]) noenhanced offset 0, -0.5 font small
            axis = "x"
            if (across_is eq "ratio") {
                low = low_of_all / 1.02; high = high_of_all * 1.02; eval ratio_axis
                if (high / low < 3) { set xtics step }
            } else {
                set xrange [low_of_all - 0.04 * room:high_of_all + extra]
                set xtics step
            }
            set xtics nomirror textcolor rgb ink font small
            set yrange [n_places + 0.55:0.45]
            set ytics scale 0 () noenhanced font small
            do for [p = 1:n_places] { set ytics add ((c == 1 ? curve[p] : "") p) }
            do for [p = 1:n_places - 1] {
                set arrow 500 + p from graph 0, first p + 0.5 to graph 1, first p + 0.5 nohead back linecolor rgb "#e8e8e8" linewidth 0.8
            }
            set arrow 1 from first level, graph 0 to first level, graph 1 nohead linecolor rgb "#000000" linewidth 1.2 back
            bars = "for [k = 1:n_barred] data using (of_cell(spread[k], 'x')):(line_of(spread[k])):'lo':'hi' with xerrorbars \
                linecolor rgb shade(spread[k]) linewidth 1.6 pointtype 0 notitle"
            marks = "for [k = 1:n_drawn] data using (of_cell(drawn[k], 'x')):(line_of(drawn[k])) with points \
                linecolor rgb shade(drawn[k]) pointtype shape[drawn[k]] pointsize 0.8 notitle"
            notes = "for [k = 1:n_drawn] data using \
                (of_cell(drawn[k], 'x') == of_cell(drawn[k], 'x') ? high_of_all + 0.97 * extra : NaN):(line_of(drawn[k])):(strcol('note')) \
                with labels right textcolor rgb faint font small notitle"
            eval "plot ".(n_barred > 0 ? bars.", " : "").marks.(noted ? ", ".notes : "")
            unset label
        }
    }
}
unset multiplot
