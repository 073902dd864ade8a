//! Time series as a picture for the documents: one row for each, and a mark where something was done.

/// One series: pairs of seconds and values.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

const LEFT: f64 = 20.0;
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 60.0;
/// From one row to the next.
const STEP: f64 = HEIGHT + 30.0;

/// An SVG of these rows over one time axis, each with a scale of its own, with a mark at this second.
pub(crate) fn svg(rows: &[Row<'_>], (marked, mark): (f64, &str)) -> String {
    let seconds = rows.iter().flat_map(|row| &row.points).map(|(second, _)| *second).fold(1.0, f64::max);
    let x = |second: f64| LEFT + second / seconds * WIDTH;
    let bottom = 40.0 + rows.len() as f64 * STEP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 800 {bottom}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"800\" height=\"{bottom}\" fill=\"#ffffff\"/>\n"
    );
    for (number, row) in rows.iter().enumerate() {
        let floor = 40.0 + number as f64 * STEP + HEIGHT;
        let most = row.points.iter().map(|(_, value)| *value).fold(1.0, f64::max);
        let points: Vec<String> = row
            .points
            .iter()
            .map(|(second, value)| format!("{:.1},{:.1}", x(*second), floor - value / most * HEIGHT))
            .collect();
        let name = row.name.replace('"', "&quot;");
        svg.push_str(&format!(
            "<text x=\"{LEFT}\" y=\"{:.0}\">{name}, at most {most:.0}</text>\n\
             <line x1=\"{LEFT}\" x2=\"780\" y1=\"{floor}\" y2=\"{floor}\" stroke=\"#cccccc\"/>\n\
             <polyline fill=\"none\" stroke=\"#0072b2\" stroke-width=\"2\" points=\"{}\"/>\n",
            floor - HEIGHT - 5.0,
            points.join(" "),
        ));
    }
    let at = x(marked);
    svg.push_str(&format!(
        "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"6\" y2=\"{:.0}\" stroke=\"#d55e00\" stroke-dasharray=\"4\"/>\n\
         <text x=\"{:.1}\" y=\"16\" fill=\"#d55e00\">{mark}, after {marked:.1} of {seconds:.1} s</text>\n</svg>\n",
        bottom - 10.0,
        at + 6.0,
    ));
    svg
}
