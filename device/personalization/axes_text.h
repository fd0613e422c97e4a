// axes.toml, built in.  The definition is made from that file by CMake (axes_text.cc.in).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_AXES_TEXT_H_
#define LORIKEET_DEVICE_PERSONALIZATION_AXES_TEXT_H_

namespace lorikeet {

extern const char kBuiltInAxesText[];

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_AXES_TEXT_H_
