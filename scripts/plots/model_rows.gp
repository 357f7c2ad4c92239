# What a sparse part of the rows costs, over what the last part costs:
# cd RUN_DIR/plots && gnuplot -c model_rows.gp model_rows svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_rows.gp")]
across_is = "share"
up_is = "log"
across_title = "sparse part of the rows"
up_title = "error / the last part's"
level = 1
load here."panels.gp"
