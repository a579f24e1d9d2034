"""Why a descent ended, in words: what happened, what was kept, and what to do where there is something to do."""

from fallline.descent import Descent, Stop

START_NOT_FINITE = (
    "the error at the weights to start from is not a finite number: start from smaller weights, "
    "or bring inputs and targets to a scale near 1."
)


def leap_sentence(stop: Stop, steps: int, above: float, least: float) -> str:
    """Why a descent on a linear network ended that took all its steps at once: how far it is from the exact minimum."""
    if stop == Stop.FLAT:
        return (
            f"Stopped at the limit of the descent, the exact minimum (E = {least:.6g}); "
            f"after about {steps:,} steps nothing but rounding is left of the way there."
        )
    if above <= 1e-15 * least:
        return f"Stopped at max_iter = {steps} steps, at the exact minimum to rounding: more steps change nothing."
    return (
        f"Stopped at max_iter = {steps} steps, {above:.3g} above the smallest error there is. More steps lower it further; "
        "max_iter=math.inf goes to the minimum."
    )


def stop_sentence(
    stop: Stop,
    descent: Descent,
    steps: int,
    best_step: int,
    best_error: float,
    tol: float,
    patience: int,
    judge: str | None,
    limit: float | None,
    column: str = "",
    *,
    epochs: int | None = None,
) -> str:
    """Why the descent ended, what was kept, and what to do where there is something to do.

    limit: the largest stable rate, of a descent that diverged; column: a sentence on the input that is the cause, if one is.
    """
    counted = "steps" if epochs is None else "epochs"
    kept = f"The lowest-error weights are kept (step {best_step}, E = {best_error:.6g})"
    match stop:
        case Stop.FLAT:
            return f"Stopped at step {steps}: the gradient is zero to rounding, so no step has anything left to gain."
        case Stop.STALLED:
            return f"Stopped at step {steps}: no step, however short, lowers the error at this precision."
        case Stop.NO_CHANGE:
            return f"Stopped at step {steps}: the error fell by less than tol = {tol:g} (relative) over {patience} {counted}."
        case Stop.VALIDATION:
            return (
                f"Stopped early at step {steps}: the {judge} error had not fallen for {patience} {counted}. "
                f"The weights of step {best_step}, where it was lowest, are kept."
            )
        case Stop.MAX_ITER:
            if epochs is not None:
                return (
                    f"Stopped at max_iter = {epochs} epochs ({steps} steps). More epochs may lower the error further."
                )
            return f"Stopped at max_iter = {steps} steps. More steps may lower the error further."
        case Stop.DECAYED:
            return f"Stopped after {epochs} epochs ({steps} steps), where the learning rate had decayed to zero."
        case Stop.DIVERGED:
            rate = getattr(descent, "learning_rate", None)
            if rate is None or isinstance(rate, str):
                advice = "Take a smaller rate in the transformation" if rate is None else "Start from smaller weights"
                return (
                    f"Diverged after step {steps}: the error grew without bound. {kept}. "
                    f"{advice}, and standardise the inputs if they are not."
                )
            momentum = getattr(descent, "momentum", 0.0)
            form = "Nesterov's momentum" if getattr(descent, "nesterov", False) else "momentum"
            method = f" for {form} {momentum:g}" if momentum and not isinstance(momentum, str) else ""
            full = "full-batch rate" if epochs is not None else "rate"
            largest = f"; the largest stable {full} there{method} is about {limit:.3g}" if limit else ""
            # Full batches bear nearly the whole of the limit; a batch has a steeper curvature now and then.
            share = 0.95 if epochs is None else 0.5
            advice = f"a rate below {share * limit:.2g}" if limit else "a smaller rate"
            automatic = " or learning_rate='auto'" if hasattr(descent, "momentum") else ""
            cure = "" if column else ", and standardise the inputs if they are not"
            return (
                f"Diverged after step {steps}: learning rate {rate:g} is too large and the error grew without bound. "
                f"{kept}{largest}. {column}Take {advice}{automatic}{cure}."
            )
        case Stop.INTERRUPTED:
            return f"Interrupted at step {steps}. {kept}."
        case Stop.ASKED:
            return f"Stopped at step {steps}, as a callback asked. {kept}."
        case Stop.TIME if steps == 0:
            return "The time (max_seconds) was over before the first step: these are the weights it began with. Give more time."
        case Stop.TIME:
            return f"Stopped at step {steps}: the time (max_seconds) was over. {kept}. More time may lower the error further."
    return ""
