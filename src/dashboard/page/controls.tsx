// the controls that views place themselves
export { LabelFilter, NamePicker, TextFilter } from './controls/pickers.tsx';
