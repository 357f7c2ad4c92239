# Divergence over that of the baseline at nearly equal density, against length:
# cd RUN_DIR/plots && gnuplot -c model_length.gp model_length svg
name = ARG1
format = ARG2
here = ARG0[1:strlen(ARG0) - strlen("model_length.gp")]
across_is = "tokens"
up_is = "ratio"
across_title = "length, tokens"
up_title = "KL / the baseline's"
level = 1
load here."panels.gp"
