// What selection chooses once its evidence is complete.  Pure; private to the selector.
//
// The likeliest persona of those whose loss was measured, if it is likelier than nobody or if the
// model is far surer than a style that is undecided (Convincing); a blend that holds it, if that
// predicts clearly better; the base, if what was measured does not bear out what the card promises.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_SELECTION_CHOICE_H_
#define LORIKEET_DEVICE_PERSONALIZATION_SELECTION_CHOICE_H_

#include "device/personalization/selection_evidence.h"

namespace lorikeet {

// Whether a persona that is less likely than nobody may be chosen: few documents about other things
// than the persona's leave style evidence undecided (probability of at least 0.03) where the habits
// are near (style distance of at most 0.15) and the model is far surer (a gain of at least 0.1 nats
// a token and of at least two standard errors).  `single`: this persona's alone, measured.
bool Convincing(const SelectionEvidence& evidence, const MeasuredCandidate& single);

// Sets evidence->chosen, and why_base where a persona was likely and the base is chosen all the
// same.  REQUIRES: every candidate is measured on the same documents.
void Choose(SelectionEvidence* evidence);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_SELECTION_CHOICE_H_
